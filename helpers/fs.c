// SPDX-License-Identifier: GPL-2.0

#include <linux/backing-dev.h>
#include <linux/shmem_fs.h>
#include <linux/statfs.h>
#include <linux/writeback.h>

#include "helpers.h"

loff_t rust_loop_helper_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

bool rust_loop_helper_is_sync(const struct inode *inode)
{
	return IS_SYNC(inode);
}

bool rust_loop_helper_is_nosec(const struct inode *inode)
{
	return IS_NOSEC(inode);
}

u32 rust_loop_helper_i_blocksize(const struct inode *inode)
{
	return i_blocksize(inode);
}

bool rust_loop_helper_mapping_stable_writes(const struct address_space *mapping)
{
	return mapping_stable_writes(mapping);
}

struct page *rust_loop_helper_zero_page(void)
{
	return ZERO_PAGE(0);
}

bool rust_loop_helper_s_isblk(const struct inode *inode)
{
	return S_ISBLK(inode->i_mode);
}

bool rust_loop_helper_s_isreg(const struct inode *inode)
{
	return S_ISREG(inode->i_mode);
}

gfp_t rust_loop_helper_mapping_gfp_mask(struct address_space *mapping)
{
	return mapping_gfp_mask(mapping);
}

void rust_loop_helper_mapping_set_gfp_mask(struct address_space *mapping, gfp_t mask)
{
	mapping_set_gfp_mask(mapping, mask);
}

/*
 * Returns whether a write of @len bytes at @pos needs a new page for each page that it covers.
 * Returns false if that is unknown: a mapping without pages may be unused because the pages of
 * the file belong to another inode.
 */
bool rust_loop_helper_write_takes_pages(struct address_space *mapping, loff_t pos, loff_t len,
					bool direct)
{
	return (!direct || shmem_mapping(mapping)) && !IS_DAX(mapping->host) &&
	       mapping->nrpages && !filemap_range_has_page(mapping, pos, pos + len - 1);
}

bool rust_loop_helper_mapping_is_dirty(const struct address_space *mapping)
{
	return mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) ||
	       mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
}

bool rust_loop_helper_mapping_can_writeback(struct address_space *mapping)
{
	return mapping_can_writeback(mapping);
}

bool rust_loop_helper_mapping_has_dirty(struct address_space *mapping)
{
	return mapping_tagged(mapping, PAGECACHE_TAG_DIRTY);
}

/*
 * Whether @len bytes at @pos are in the page cache as a whole, and up to date: neither a read
 * nor a write of them takes a page. A folio that makes its reader read ahead does not count.
 */
bool rust_loop_helper_range_is_in_memory(struct address_space *mapping, loff_t pos, loff_t len)
{
	pgoff_t next = pos >> PAGE_SHIFT, last = (pos + len - 1) >> PAGE_SHIFT;
	struct folio_batch fbatch;
	bool is_usable = true;
	unsigned int i, nr;

	folio_batch_init(&fbatch);
	while (is_usable && next <= last) {
		nr = filemap_get_folios_contig(mapping, &next, last, &fbatch);
		is_usable = nr > 0;
		for (i = 0; i < nr; i++) {
			const struct folio *folio = fbatch.folios[i];

			is_usable &= folio_test_uptodate(folio) &&
				     (folio_test_writeback(folio) || !folio_test_readahead(folio));
		}
		folio_batch_release(&fbatch);
	}
	return is_usable && len > 0;
}

/* Whether the current task, if it wrote to the page cache, would wait for writeback. */
bool rust_loop_helper_dirtying_is_throttled(struct address_space *mapping)
{
	return balance_dirty_pages_ratelimited_flags(mapping, BDP_ASYNC) != 0;
}

void rust_loop_helper_file_start_write(struct file *file)
{
	file_start_write(file);
}

void rust_loop_helper_file_end_write(struct file *file)
{
	file_end_write(file);
}

void rust_loop_helper_kiocb_start_write(struct kiocb *iocb)
{
	kiocb_start_write(iocb);
}

void rust_loop_helper_kiocb_end_write(struct kiocb *iocb)
{
	kiocb_end_write(iocb);
}

u64 rust_loop_helper_huge_encode_dev(dev_t dev)
{
	return huge_encode_dev(dev);
}

/* Returns only the block size, because struct kstatfs is opaque in kernel::bindings. */
int rust_loop_helper_vfs_statfs_bsize(const struct path *path, long *bsize)
{
	struct kstatfs stat;
	int ret = vfs_statfs(path, &stat);

	if (!ret)
		*bsize = stat.f_bsize;
	return ret;
}
