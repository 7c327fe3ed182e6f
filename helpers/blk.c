// SPDX-License-Identifier: GPL-2.0

#include "helpers.h"

bool rust_loop_helper_rq_is_sync(const struct request *rq)
{
	return op_is_sync(rq->cmd_flags) && !(rq->cmd_flags & REQ_RAHEAD);
}

/*
 * A folio that is read from swap is in the swap cache and not up to date, one that is
 * written there is under writeback. REQ_SWAP does not tell the former, and is not handed
 * down by a device that is backed by a file on this one.
 *
 * The first page of the bio answers for all, be it in this request or in one before: a bio
 * that is split keeps its pages until the last part has ended.
 */
bool rust_loop_helper_rq_carries_swap(const struct request *rq)
{
	const struct folio *folio;
	bool is_write = op_is_write(req_op(rq));

	if (rq->cmd_flags & REQ_SWAP)
		return true;
	if (req_op(rq) > REQ_OP_WRITE || !rq->bio)
		return false;
	folio = page_folio(rq->bio->bi_io_vec->bv_page);
	if (!folio_test_swapcache(folio))
		return false;
	return is_write ? folio_test_writeback(folio) : !folio_test_uptodate(folio);
}

sector_t rust_loop_helper_blk_rq_pos(const struct request *rq)
{
	return blk_rq_pos(rq);
}

unsigned int rust_loop_helper_blk_rq_bytes(const struct request *rq)
{
	return blk_rq_bytes(rq);
}

unsigned short rust_loop_helper_req_get_ioprio(struct request *rq)
{
	return req_get_ioprio(rq);
}

unsigned int rust_loop_helper_blk_rq_nr_bvec(struct request *rq)
{
	return blk_rq_nr_bvec(rq);
}

void rust_loop_helper_mp_bvec_iter_bvec(const struct bio *bio, const struct bvec_iter *iter,
					struct bio_vec *bvec)
{
	*bvec = mp_bvec_iter_bvec(bio->bi_io_vec, *iter);
}

/*
 * Returns how many bytes of the bio's first bvec are done. 7.3 renamed the field
 * (bi_bvec_done, bi_offset), but not what is computed from it.
 */
unsigned int rust_loop_helper_bio_bvec_done(const struct bio *bio)
{
	return mp_bvec_iter_offset(bio->bi_io_vec, bio->bi_iter) -
	       bio->bi_io_vec[bio->bi_iter.bi_idx].bv_offset;
}

unsigned int rust_loop_helper_bio_nr_bvec(const struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bvec;
	unsigned int nr = 0;

	bio_for_each_bvec(bvec, bio, iter)
		nr++;
	return nr;
}

void rust_loop_helper_bio_advance_iter_single(const struct bio *bio, struct bvec_iter *iter,
					      unsigned int bytes)
{
	bio_advance_iter_single(bio, iter, bytes);
}

/*
 * Clears max_hw_discard_sectors as well, because a later commit of limits computes
 * max_discard_sectors from it.
 */
void rust_loop_helper_blk_queue_disable_discard(struct request_queue *q)
{
	WRITE_ONCE(q->limits.max_discard_sectors, 0);
	WRITE_ONCE(q->limits.max_hw_discard_sectors, 0);
	WRITE_ONCE(q->limits.discard_granularity, 0);
}

void rust_loop_helper_blk_queue_disable_write_zeroes(struct request_queue *q)
{
	WRITE_ONCE(q->limits.max_write_zeroes_sectors, 0);
	WRITE_ONCE(q->limits.max_wzeroes_unmap_sectors, 0);
}

unsigned int rust_loop_helper_queue_max_discard_sectors(const struct request_queue *q)
{
	return READ_ONCE(q->limits.max_discard_sectors);
}

sector_t rust_loop_helper_get_capacity(struct gendisk *disk)
{
	return get_capacity(disk);
}

unsigned int rust_loop_helper_disk_openers(struct gendisk *disk)
{
	return disk_openers(disk);
}

unsigned int rust_loop_helper_queue_logical_block_size(struct request_queue *q)
{
	return queue_logical_block_size(q);
}

unsigned int rust_loop_helper_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

unsigned int rust_loop_helper_bdev_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

struct queue_limits
rust_loop_helper_queue_limits_start_update(struct request_queue *q)
{
	return queue_limits_start_update(q);
}

unsigned int rust_loop_helper_bdev_write_zeroes_sectors(struct block_device *bdev)
{
	return bdev_write_zeroes_sectors(bdev);
}

unsigned int rust_loop_helper_bdev_discard_granularity(struct block_device *bdev)
{
	return bdev_discard_granularity(bdev);
}

unsigned int rust_loop_helper_bdev_discard_alignment(struct block_device *bdev)
{
	return bdev_discard_alignment(bdev);
}

bool rust_loop_helper_bdev_stable_writes(struct block_device *bdev)
{
	return bdev_stable_writes(bdev);
}

/*
 * Sets whether the page cache of the device needs stable pages. bdev_add() does this only with
 * the limits that the device has when it is added. Filesystems read the limits when they are
 * mounted.
 */
void rust_loop_helper_disk_set_stable_writes(struct gendisk *disk, bool stable)
{
	struct address_space *mapping = disk->part0->bd_mapping;

	if (stable)
		mapping_set_stable_writes(mapping);
	else
		mapping_clear_stable_writes(mapping);
}

bool rust_loop_helper_bdev_rot(struct block_device *bdev)
{
	return bdev_rot(bdev);
}

struct device *rust_loop_helper_disk_to_dev(struct gendisk *disk)
{
	return disk_to_dev(disk);
}

struct gendisk *rust_loop_helper_dev_to_disk(struct device *dev)
{
	return dev_to_disk(dev);
}

unsigned int rust_loop_helper_blk_mq_freeze_queue(struct request_queue *q)
{
	return blk_mq_freeze_queue(q);
}

void rust_loop_helper_blk_mq_unfreeze_queue(struct request_queue *q, unsigned int memflags)
{
	blk_mq_unfreeze_queue(q, memflags);
}

/*
 * Calls @func for the disk, which is the first entry of its table, and for each partition. A
 * partition that is removed meanwhile stays until @func returns. Returns the first error, after
 * the calls for all of them.
 */
static int disk_for_each_bdev(struct gendisk *disk, int (*func)(struct block_device *bdev))
{
	struct block_device *bdev;
	unsigned long idx;
	int ret = 0, err;

	rcu_read_lock();
	xa_for_each(&disk->part_tbl, idx, bdev) {
		if (!kobject_get_unless_zero(&bdev->bd_device.kobj))
			continue;
		rcu_read_unlock();
		err = func(bdev);
		if (!ret)
			ret = err;
		put_device(&bdev->bd_device);
		rcu_read_lock();
	}
	rcu_read_unlock();
	return ret;
}

int rust_loop_helper_disk_sync(struct gendisk *disk)
{
	return disk_for_each_bdev(disk, sync_blockdev);
}

static int invalidate(struct block_device *bdev)
{
	invalidate_bdev(bdev);
	return 0;
}

void rust_loop_helper_disk_invalidate(struct gendisk *disk)
{
	disk_for_each_bdev(disk, invalidate);
}

void rust_loop_helper_queue_limits_cancel_update(struct request_queue *q)
{
	queue_limits_cancel_update(q);
}

void rust_loop_helper_disk_set_suppress_part_scan(struct gendisk *disk, bool suppress)
{
	assign_bit(GD_SUPPRESS_PART_SCAN, &disk->state, suppress);
}

void rust_loop_helper_dev_set_uevent_suppress(struct device *dev, int val)
{
	dev_set_uevent_suppress(dev, val);
}
