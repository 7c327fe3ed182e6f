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

    /// Returns whether the file may be written past its page cache within a
    /// [`MemoryReserveScope`](super::super::task::MemoryReserveScope).
    ///
    /// Most filesystems may not: before such a write, what is dirty is written back, with
    /// `iomap_writepages` for one, which warns in that scope and refuses to. Block devices
    /// do not use it, if there are buffer heads, nor does ext4. But ext4 must neither have to
    /// allocate blocks, for it waits for another workqueue before it says that there are
    /// none, nor go on to write inodes, as it does if all is to be durable at once; and see
    /// [`Self::touch`].
    pub(crate) fn may_use_reserve(&self) -> bool {
        if self.is_block_device() {
            return cfg!(CONFIG_BUFFER_HEAD);
        }
        // SAFETY: The file is alive, hence the inode is.
        let is_sync = unsafe { bindings::rust_loop_helper_is_sync(inode(&self.file)) };
        self.filesystem() == b"ext4" && !is_sync && self.has_all_blocks()
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

    /// Brings the time of the last write of a regular file up to date, so that a write that
    /// follows at once need not. For that ext4 begins a transaction, which must not fail; the
    /// page allocator warns of what must not fail within a
    /// [`MemoryReserveScope`](super::super::task::MemoryReserveScope).
    pub(crate) fn touch(&self) {
        if self.is_block_device() {
            return;
        }
        // SAFETY: The file is alive. Its filesystem is not frozen meanwhile.
        unsafe {
            bindings::rust_loop_helper_file_start_write(self.as_ptr());
            // An error is met again by the write.
            bindings::file_update_time(self.as_ptr());
            bindings::rust_loop_helper_file_end_write(self.as_ptr());
        }
    }

    /// Returns whether the file has at least as many blocks as its size takes.
    fn has_all_blocks(&self) -> bool {
        let inode = inode(&self.file);
        // SAFETY: The file is alive, hence the inode is. Who changes the number meanwhile is
        // either before us or after us.
        let (blocks, size) = unsafe {
            (
                (&raw const (*inode).i_blocks).read_volatile(),
                bindings::rust_loop_helper_i_size_read(inode),
            )
        };
        // In units of 512 bytes, whatever the filesystem's are.
        blocks.saturating_mul(512) >= size.unsigned_abs()
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
