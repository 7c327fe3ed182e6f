/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wrappers of inline functions and macros, which Rust cannot call. Most have one line, and are
 * named after the wrapped function.
 */
#ifndef RUST_LOOP_HELPERS_H
#define RUST_LOOP_HELPERS_H

#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/cgroup.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/kdev_t.h>
#include <linux/pagemap.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/workqueue.h>

/* blk.c */
bool rust_loop_helper_rq_is_sync(const struct request *rq);
bool rust_loop_helper_rq_carries_swap(const struct request *rq);
sector_t rust_loop_helper_blk_rq_pos(const struct request *rq);
unsigned int rust_loop_helper_blk_rq_bytes(const struct request *rq);
unsigned short rust_loop_helper_req_get_ioprio(struct request *rq);
unsigned int rust_loop_helper_blk_rq_nr_bvec(struct request *rq);
void rust_loop_helper_mp_bvec_iter_bvec(const struct bio *bio, const struct bvec_iter *iter,
					struct bio_vec *bvec);
unsigned int rust_loop_helper_bio_bvec_done(const struct bio *bio);
unsigned int rust_loop_helper_bio_nr_bvec(const struct bio *bio);
void rust_loop_helper_bio_advance_iter_single(const struct bio *bio, struct bvec_iter *iter,
					      unsigned int bytes);
void rust_loop_helper_blk_queue_disable_discard(struct request_queue *q);
void rust_loop_helper_blk_queue_disable_write_zeroes(struct request_queue *q);
unsigned int rust_loop_helper_queue_max_discard_sectors(const struct request_queue *q);
sector_t rust_loop_helper_get_capacity(struct gendisk *disk);
unsigned int rust_loop_helper_disk_openers(struct gendisk *disk);
unsigned int rust_loop_helper_queue_logical_block_size(struct request_queue *q);
unsigned int rust_loop_helper_bdev_logical_block_size(struct block_device *bdev);
unsigned int rust_loop_helper_bdev_dma_alignment(struct block_device *bdev);
struct queue_limits
rust_loop_helper_queue_limits_start_update(struct request_queue *q);
unsigned int rust_loop_helper_bdev_write_zeroes_sectors(struct block_device *bdev);
unsigned int rust_loop_helper_bdev_discard_granularity(struct block_device *bdev);
unsigned int rust_loop_helper_bdev_discard_alignment(struct block_device *bdev);
bool rust_loop_helper_bdev_stable_writes(struct block_device *bdev);
void rust_loop_helper_disk_set_stable_writes(struct gendisk *disk, bool stable);
bool rust_loop_helper_bdev_rot(struct block_device *bdev);
struct device *rust_loop_helper_disk_to_dev(struct gendisk *disk);
struct gendisk *rust_loop_helper_dev_to_disk(struct device *dev);
unsigned int rust_loop_helper_blk_mq_freeze_queue(struct request_queue *q);
void rust_loop_helper_blk_mq_unfreeze_queue(struct request_queue *q, unsigned int memflags);
int rust_loop_helper_disk_sync(struct gendisk *disk);
void rust_loop_helper_disk_invalidate(struct gendisk *disk);
void rust_loop_helper_queue_limits_cancel_update(struct request_queue *q);
void rust_loop_helper_disk_set_suppress_part_scan(struct gendisk *disk, bool suppress);
void rust_loop_helper_dev_set_uevent_suppress(struct device *dev, int val);

/* cgroup.c */
void rust_loop_helper_css_get(struct cgroup_subsys_state *css);
void rust_loop_helper_css_put(struct cgroup_subsys_state *css);
int rust_loop_helper_css_path(struct cgroup_subsys_state *css, char *buf, size_t len);
int rust_loop_helper_css_id(const struct cgroup_subsys_state *css);
struct cgroup_subsys_state *rust_loop_helper_bio_blkcg_css(struct bio *bio);
bool rust_loop_helper_css_is_blkcg_root(const struct cgroup_subsys_state *css);
bool rust_loop_helper_css_is_dying(struct cgroup_subsys_state *css);
struct cgroup_subsys_state *rust_loop_helper_css_nearest_online(struct cgroup_subsys_state *css);
struct cgroup_subsys_state *rust_loop_helper_css_memcg(struct cgroup_subsys_state *css);
unsigned long rust_loop_helper_memcg_oom_events(struct cgroup_subsys_state *css);
bool rust_loop_helper_memcg_has_room(struct cgroup_subsys_state *css);
void rust_loop_helper_kthread_associate_blkcg(struct cgroup_subsys_state *css);
struct mem_cgroup *rust_loop_helper_set_active_memcg(struct cgroup_subsys_state *css);
void rust_loop_helper_restore_active_memcg(struct mem_cgroup *memcg);

/* debugfs.c */
struct dentry *rust_loop_helper_debugfs_create_dir(const char *name, struct dentry *parent);
struct dentry *rust_loop_helper_debugfs_create_file(const char *name, umode_t mode,
						    struct dentry *parent, void *data,
						    const struct file_operations *fops);
void rust_loop_helper_debugfs_remove(struct dentry *dentry);

/* fs.c */
loff_t rust_loop_helper_i_size_read(const struct inode *inode);
bool rust_loop_helper_is_sync(const struct inode *inode);
bool rust_loop_helper_is_nosec(const struct inode *inode);
u32 rust_loop_helper_i_blocksize(const struct inode *inode);
bool rust_loop_helper_mapping_stable_writes(const struct address_space *mapping);
struct page *rust_loop_helper_zero_page(void);
bool rust_loop_helper_s_isblk(const struct inode *inode);
bool rust_loop_helper_s_isreg(const struct inode *inode);
bool rust_loop_helper_mapping_can_writeback(struct address_space *mapping);
bool rust_loop_helper_mapping_has_dirty(struct address_space *mapping);
gfp_t rust_loop_helper_mapping_gfp_mask(struct address_space *mapping);
void rust_loop_helper_mapping_set_gfp_mask(struct address_space *mapping, gfp_t mask);
bool rust_loop_helper_write_takes_pages(struct address_space *mapping, loff_t pos, loff_t len,
					bool direct);
bool rust_loop_helper_mapping_is_dirty(const struct address_space *mapping);
bool rust_loop_helper_range_is_in_memory(struct address_space *mapping, loff_t pos, loff_t len);
bool rust_loop_helper_dirtying_is_throttled(struct address_space *mapping);
void rust_loop_helper_file_start_write(struct file *file);
void rust_loop_helper_file_end_write(struct file *file);
void rust_loop_helper_kiocb_start_write(struct kiocb *iocb);
void rust_loop_helper_kiocb_end_write(struct kiocb *iocb);
u64 rust_loop_helper_huge_encode_dev(dev_t dev);
int rust_loop_helper_vfs_statfs_bsize(const struct path *path, long *bsize);

/* module.c */
bool rust_loop_helper_try_module_get(struct module *module);

/* sched.c */
unsigned int rust_loop_helper_current_set_flags(unsigned int flags);
void rust_loop_helper_current_restore_flags(unsigned int orig, unsigned int flags);
void rust_loop_helper_cond_resched(void);
void rust_loop_helper_yield(void);
bool rust_loop_helper_capable_sys_admin(void);
bool rust_loop_helper_in_task(void);
unsigned long rust_loop_helper_current_nvcsw(void);
bool rust_loop_helper_may_run_beside_current(void);
unsigned long rust_loop_helper_totalram_pages(void);
void rust_loop_helper_memalloc_retry_wait(void);

/* sync.c */
int rust_loop_helper_mutex_lock_killable(struct mutex *lock);
unsigned long rust_loop_helper_spin_lock_irqsave(spinlock_t *lock);
void rust_loop_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
void rust_loop_helper_spin_assert_is_held(spinlock_t *lock);

/* timer.c */
void rust_loop_helper_timer_setup(struct timer_list *timer, void (*func)(struct timer_list *),
				  unsigned int flags);
unsigned long rust_loop_helper_jiffies(void);
u64 rust_loop_helper_get_jiffies_64(void);
unsigned int rust_loop_helper_jiffies_to_msecs(unsigned long j);

/* workqueue.c */
struct workqueue_struct *rust_loop_helper_alloc_workqueue(const char *name, unsigned int flags,
							  int max_active);
void rust_loop_helper_init_work(struct work_struct *work, work_func_t func);
void rust_loop_helper_init_bh_work(struct work_struct *work, work_func_t func);

#endif /* RUST_LOOP_HELPERS_H */
