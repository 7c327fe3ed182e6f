// SPDX-License-Identifier: GPL-2.0

//! The part of a file that is in the page cache.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::BackingFile;
use crate::abstractions::bindings;

impl BackingFile {
    /// Returns whether `len` bytes at byte `pos` are in the page cache as a whole and up to
    /// date, and consist of pages and blocks that have no other bytes. Neither a read nor a
    /// write of them through the page cache then takes a page, or reads from the storage.
    ///
    /// That may change at once: the answer is for a choice that is right either way. Any
    /// context.
    pub(crate) fn is_in_memory(&self, pos: u64, len: u32) -> bool {
        let page = bindings::PAGE_SIZE;
        let Ok(start) = bindings::loff_t::try_from(pos) else {
            return false;
        };
        (pos | u64::from(len)) & (page as u64 - 1) == 0
            && u64::from(self.inode_block_size()) <= page as u64
            // SAFETY: The file is alive, hence its mapping is.
            && unsafe {
                let mapping = (*self.as_ptr()).f_mapping;
                bindings::rust_loop_helper_range_is_in_memory(mapping, start, len.into())
            }
    }

    /// Returns whether the current task, if it wrote to the page cache of the file now, would
    /// be made to wait for writeback (`balance_dirty_pages()`). Process context, sleeps for
    /// memory at most.
    pub(crate) fn throttles_writers(&self) -> bool {
        // SAFETY: The file is alive, hence its mapping is.
        unsafe { bindings::rust_loop_helper_dirtying_is_throttled((*self.as_ptr()).f_mapping) }
    }
}
