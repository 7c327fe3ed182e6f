// SPDX-License-Identifier: GPL-2.0

//! What may be asked of a file, by what its filesystem does.
//!
//! No interface of the kernel tells most of this; filesystems whose code was looked at for
//! it are known by name, and from all others the least is expected.

use super::{
    super::bindings,
    block_device,
    inode,
    BackingFile, //
};
use core::mem::MaybeUninit;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// What reading and writing a file past the page cache takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectIo {
    /// Whether the file allows it.
    pub(crate) allowed: bool,
    /// Whether it then does go past the page cache: there are files that the filesystem
    /// reads and writes through it all the same.
    pub(crate) bypasses: bool,
    /// What positions and lengths are multiples of, in bytes; a power of two.
    pub(crate) offset_align: u32,
    /// What addresses in memory are multiples of, in bytes; a power of two.
    pub(crate) mem_align: u32,
}

impl BackingFile {
    /// Returns whether what is written so that it is [durable](super::kiocb::Access::dsync) is
    /// so when that has been done, asynchronously or not, past the page cache or not.
    ///
    /// Only what has been looked at: there are filesystems that do not heed the flag
    /// (ocfs2, and netfs past the page cache), that do not sync what ends later (btrfs),
    /// that forget of some metadata (exfat, f2fs), or leave it to a server (FUSE). For them
    /// it takes [`Self::flush`], too.
    pub(crate) fn has_dsync(&self) -> bool {
        self.is_block_device() || matches!(self.filesystem(), b"ext4" | b"xfs")
    }

    /// Returns whether `fdatasync` leaves out nothing but what need not be durable for the
    /// data to be. f2fs leaves out ranges that were zeroed, gfs2 does not flush the disk.
    pub(super) fn has_fdatasync(&self) -> bool {
        self.is_block_device() || matches!(self.filesystem(), b"ext4" | b"xfs" | b"btrfs")
    }

    /// Prepares `len` bytes at byte `pos` for a write past the page cache that uses the
    /// [memory reserves](super::super::task::with_memory_reserve_if), and returns whether the
    /// file allows that. Sleeps.
    ///
    /// Most filesystems do not: before such a write they write back what is dirty, with
    /// `iomap_writepages` for one, which warns of these reserves and refuses. Block devices
    /// with buffer heads and ext4 write back by another function. On ext4 three more rules
    /// hold:
    ///
    /// - The range is allocated and written. For an unwritten extent or a hole ext4 begins a
    ///   transaction, with allocations that must not fail, of which the page allocator warns,
    ///   and for a hole it may wait for another workqueue.
    /// - The time of the last write is brought up to date before: that takes a transaction,
    ///   too.
    /// - The inode is not a synchronous one, which the write itself would write.
    pub(crate) fn prepare_for_reserve(&self, pos: u64, len: u32) -> bool {
        if self.is_block_device() {
            self.write_back(pos, len);
            return cfg!(CONFIG_BUFFER_HEAD);
        }
        // SAFETY: The file is alive, hence the inode is.
        let is_sync = unsafe { bindings::rust_loop_helper_is_sync(inode(&self.file)) };
        if self.filesystem() != b"ext4" || is_sync || !self.is_written(pos, len) {
            return false;
        }
        self.touch();
        true
    }

    /// Returns whether a write of `len` bytes at byte `pos`, past the page cache if `direct`,
    /// needs a new page of memory for each that it covers. `false` if that is not known. Any
    /// context.
    pub(crate) fn write_takes_pages(&self, pos: u64, len: u32, direct: bool) -> bool {
        let Ok(pos) = bindings::loff_t::try_from(pos) else {
            return false;
        };
        // SAFETY: The file is alive, hence its mapping is.
        unsafe {
            let mapping = (*self.as_ptr()).f_mapping;
            bindings::rust_loop_helper_write_takes_pages(mapping, pos, len.into(), direct)
        }
    }

    /// Brings the time of the last write up to date, so that a write that follows at once
    /// does not.
    fn touch(&self) {
        // SAFETY: The file is alive. Its filesystem is not frozen meanwhile.
        unsafe {
            bindings::rust_loop_helper_file_start_write(self.as_ptr());
            // An error is met again by the write.
            bindings::file_update_time(self.as_ptr());
            bindings::rust_loop_helper_file_end_write(self.as_ptr());
        }
    }

    /// Returns whether all blocks of a range are known to be allocated and written.
    ///
    /// `bmap()` has no block for what is not. It also writes back the whole file, so of a
    /// file with dirty page cache nothing is known.
    fn is_written(&self, pos: u64, len: u32) -> bool {
        let inode = inode(&self.file);
        // SAFETY: The file is alive, hence the inode and its mapping are.
        let (is_dirty, shift) = unsafe {
            (
                bindings::rust_loop_helper_mapping_has_dirty((*inode).i_mapping),
                (*inode).i_blkbits,
            )
        };
        if is_dirty || len == 0 {
            return false;
        }
        let last = pos.saturating_add(u64::from(len) - 1);
        (pos >> shift..=last >> shift).all(|block| {
            let mut found = block;
            // SAFETY: The inode is alive; `found` is valid for reads and writes.
            let ret = unsafe { bindings::bmap(inode, &mut found) };
            ret == 0 && found != 0
        })
    }

    fn is_block_device(&self) -> bool {
        block_device(&self.file).is_some()
    }

    /// Returns the name of the type of the filesystem that the file is in.
    fn filesystem(&self) -> &[u8] {
        // SAFETY: The file is alive, hence its filesystem is, and so is the type of that,
        // whose name is a string that does not change.
        let name = unsafe {
            let fs_type = (*(*inode(&self.file)).i_sb).s_type;
            <CStr as kernel::str::CStrExt>::from_char_ptr((*fs_type).name)
        };
        name.to_bytes()
    }

    /// Returns what direct I/O takes: as the filesystem says it, else as the
    /// device that it is on requires it.
    ///
    /// As [`loop_update_dio_alignment()`](srctree/drivers/block/loop.c).
    pub(crate) fn direct_io(&self) -> DirectIo {
        let allowed = self.has_direct();
        let said = match block_device(&self.file) {
            // It says the same below.
            Some(_) => None,
            None => self.stat_direct_io().ok().flatten(),
        };
        // Both are 0 for a file that takes direct I/O but goes through its page cache.
        let bypasses = match said {
            Some((offset_align, mem_align)) if mem_align != 0 => {
                return DirectIo {
                    allowed,
                    bypasses: true,
                    offset_align: offset_align.max(bindings::SECTOR_SIZE),
                    mem_align,
                };
            }
            Some(_) => false,
            None => true,
        };
        match self.device_below() {
            // SAFETY: `self` keeps the device alive.
            Some(bdev) => unsafe {
                DirectIo {
                    allowed,
                    bypasses,
                    offset_align: bindings::rust_loop_helper_bdev_logical_block_size(bdev.as_ptr()),
                    mem_align: bindings::rust_loop_helper_bdev_dma_alignment(bdev.as_ptr()) + 1,
                }
            },
            None => DirectIo {
                allowed,
                bypasses,
                offset_align: bindings::SECTOR_SIZE,
                mem_align: bindings::SECTOR_SIZE,
            },
        }
    }

    /// Returns what the filesystem says of direct I/O, if it says something: the
    /// alignment of positions and of memory.
    fn stat_direct_io(&self) -> Result<Option<(u32, u32)>> {
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The file is alive; `stat` is valid for writes.
        to_result(unsafe {
            bindings::vfs_getattr(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                stat.as_mut_ptr(),
                bindings::STATX_DIOALIGN,
                0,
            )
        })?;
        // SAFETY: `vfs_getattr` has filled it in.
        let stat = unsafe { stat.assume_init() };
        Ok((stat.result_mask & bindings::STATX_DIOALIGN != 0)
            .then_some((stat.dio_offset_align, stat.dio_mem_align)))
    }
}
