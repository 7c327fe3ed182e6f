// SPDX-License-Identifier: GPL-2.0

//! Flushing a file, and its page cache.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::BackingFile;
use crate::abstractions::bindings;
use kernel::{
    error::to_result,
    ffi::c_ulong,
    prelude::*, //
};

/// Returns the first and the last position of `len` bytes at byte `pos`; `None` if `len` is 0 or
/// no file has such a position.
fn bounds(pos: u64, len: u64) -> Option<(bindings::loff_t, bindings::loff_t)> {
    let start = bindings::loff_t::try_from(pos).ok()?;
    let len = bindings::loff_t::try_from(len).unwrap_or(bindings::loff_t::MAX);
    (len > 0).then(|| (start, start.saturating_add(len - 1)))
}

impl BackingFile {
    /// Makes all written data and metadata durable (`vfs_fsync()`).
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the file has no `fsync` method;
    /// - the error of the filesystem, or of any write-back since the previous call.
    pub(crate) fn fsync(&self) -> Result {
        // SAFETY: The file is alive.
        to_result(unsafe { bindings::vfs_fsync(self.as_ptr(), 0) })
    }

    /// Makes all written data durable, with the metadata that reading it takes (`vfs_fsync()` with
    /// `datasync`). Timestamps need not become durable.
    ///
    /// # Errors
    ///
    /// As for [`Self::fsync`].
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::abstractions::fs::BackingFile;
    /// use kernel::prelude::*;
    ///
    /// /// Makes the data of a file durable, if any is dirty.
    /// fn sync(file: &BackingFile) -> Result {
    ///     if file.is_dirty() {
    ///         file.start_writeback();
    ///         file.fdatasync()?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub(crate) fn fdatasync(&self) -> Result {
        // SAFETY: The file is alive.
        to_result(unsafe { bindings::vfs_fsync(self.as_ptr(), 1) })
    }

    /// Returns whether the page cache of the file is dirty or under write-back. Always `false` for
    /// a file that is in memory only. Any context.
    pub(crate) fn is_dirty(&self) -> bool {
        // SAFETY: The mapping is alive.
        unsafe { bindings::rust_loop_helper_mapping_is_dirty(self.mapping()) }
    }

    /// Starts write-back of the page cache (`filemap_flush()`). Sleeps. A failure is reported by a
    /// later [`Self::fsync`].
    pub(crate) fn start_writeback(&self) {
        // SAFETY: The mapping is alive.
        unsafe { bindings::filemap_flush(self.mapping()) };
    }

    /// Writes back the page cache of `len` bytes at byte `pos`, and waits for that. Sleeps. A
    /// failure is reported by a later [`Self::fsync`].
    pub(crate) fn write_back(&self, pos: u64, len: u64) {
        let Some((start, end)) = bounds(pos, len) else {
            return;
        };
        // SAFETY: The mapping is alive.
        unsafe { bindings::filemap_write_and_wait_range(self.mapping(), start, end) };
    }

    /// Writes back and drops the page cache of `len` bytes at byte `pos`, so that the next read
    /// through it gets the data from storage. Whole pages are dropped. A failure of write-back is
    /// reported by a later [`Self::fsync`]. Returns whether no page has stayed: a page stays that
    /// is being written to or that a filesystem holds.
    ///
    /// Files that are in memory only keep their page cache.
    pub(crate) fn drop_cached(&self, pos: u64, len: u64) -> bool {
        let Some((start, end)) = bounds(pos, len) else {
            return true;
        };
        let mapping = self.mapping();
        // SAFETY: The mapping is alive.
        if !unsafe { bindings::rust_loop_helper_mapping_can_writeback(mapping) } {
            return false;
        }
        let page = i64::from(bindings::PAGE_SHIFT);
        let (first, last) = (start >> page, end >> page);
        // SAFETY: The mapping is alive.
        unsafe {
            bindings::filemap_write_and_wait_range(
                mapping,
                first << page,
                (last << page) | (bindings::PAGE_SIZE as i64 - 1),
            );
        }
        // Pages that are dirty again are newer than the storage, and stay.
        //
        // SAFETY: The mapping is alive.
        unsafe {
            bindings::invalidate_inode_pages2_range(mapping, first as c_ulong, last as c_ulong) == 0
        }
    }

    /// Drops all clean page cache. Waits for pages that are being read or written back, but writes
    /// nothing, so it may be called with the driver's queue frozen.
    ///
    /// Files that are in memory only keep their page cache.
    pub(crate) fn drop_clean(&self) {
        let mapping = self.mapping();
        // SAFETY: The mapping is alive.
        if !unsafe { bindings::rust_loop_helper_mapping_can_writeback(mapping) } {
            return;
        }
        // SAFETY: The mapping is alive.
        unsafe { bindings::invalidate_inode_pages2_range(mapping, 0, c_ulong::MAX) };
    }

    /// Returns whether any of `len` bytes at byte `pos` is in the page cache. Any context.
    pub(crate) fn is_cached(&self, pos: u64, len: u32) -> bool {
        bounds(pos, len.into()).is_some_and(|(start, end)| {
            // SAFETY: The mapping is alive.
            unsafe { bindings::filemap_range_has_page(self.mapping(), start, end) }
        })
    }

    /// Returns whether a write of `len` bytes at byte `pos` allocates a new page for each page
    /// that it covers. `direct` says whether it is [direct](super::kiocb::RwOptions::direct) I/O.
    /// `false` if this is not known. Any context.
    pub(crate) fn write_takes_pages(&self, pos: u64, len: u32, direct: bool) -> bool {
        let Ok(pos) = bindings::loff_t::try_from(pos) else {
            return false;
        };
        // SAFETY: The mapping is alive.
        unsafe {
            bindings::rust_loop_helper_write_takes_pages(self.mapping(), pos, len.into(), direct)
        }
    }
}
