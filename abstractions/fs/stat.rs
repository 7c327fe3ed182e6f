// SPDX-License-Identifier: GPL-2.0

//! Attributes of a file.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/stat.h`](srctree/include/linux/stat.h)

use super::{
    inode,
    BackingFile, //
};
use crate::abstractions::bindings;
use core::mem::MaybeUninit;
use kernel::{
    block::SECTOR_SIZE,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::BStr,
};

/// Identity of a file.
#[derive(Clone, Copy, Default)]
pub(crate) struct FileId {
    /// Device of the filesystem, encoded for user space (`huge_encode_dev()`).
    pub(crate) dev: u64,
    /// Number of the inode.
    pub(crate) ino: u64,
    /// Device that a device node refers to.
    pub(crate) rdev: u64,
}

/// Alignment that direct I/O requires (`STATX_DIOALIGN`).
#[derive(Clone, Copy)]
pub(crate) struct DioAlign {
    /// Alignment of positions and lengths, in bytes. 0 if the filesystem uses the page cache even
    /// for direct I/O.
    pub(crate) offset: u32,
    /// Alignment of addresses in memory, in bytes. 0 as for `offset`.
    pub(crate) mem: u32,
}

/// Returns whether `err` means that the filesystem refuses to answer the current process.
///
/// FUSE refuses most queries of root on a mount of another user. The process may read the file
/// nevertheless, because it has the file open.
fn is_refusal(err: Error) -> bool {
    err == EACCES || err == EPERM
}

impl BackingFile {
    /// Returns the size of the file in bytes, as the filesystem knows it. The cached inode of a
    /// network filesystem may be out of date. It is used only if the filesystem
    /// [refuses](is_refusal) to answer.
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::abstractions::fs::BackingFile;
    /// use kernel::prelude::*;
    ///
    /// /// Prints the path and size of a file.
    /// fn describe(file: &BackingFile) -> Result {
    ///     let mut buf = [0; 64];
    ///     let path = file.path(&mut buf)?;
    ///     pr_info!("{path}: {} bytes\n", file.size()?);
    ///     Ok(())
    /// }
    /// ```
    pub(crate) fn size(&self) -> Result<u64> {
        // SAFETY: The file is alive, and so is its inode.
        let cached = || unsafe { bindings::rust_loop_helper_i_size_read(inode(&self.file)) };
        if self.is_block_device() {
            return Ok(cached().try_into()?);
        }
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The file is alive; `stat` is valid for writes.
        let ret = to_result(unsafe {
            bindings::vfs_getattr_nosec(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                stat.as_mut_ptr(),
                bindings::STATX_SIZE,
                0,
            )
        });
        let size = match ret {
            // SAFETY: `vfs_getattr_nosec` has filled it in.
            Ok(()) => unsafe { stat.assume_init() }.size,
            Err(err) if is_refusal(err) => cached(),
            Err(err) => return Err(err),
        };
        Ok(size.try_into()?)
    }

    /// Returns the identity of the file. The inode is used if the filesystem
    /// [refuses](is_refusal) to answer.
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn id(&self) -> Result<FileId> {
        let stat = self.getattr(bindings::STATX_INO, bindings::AT_STATX_SYNC_AS_STAT);
        let (dev, ino, rdev) = match stat {
            Ok(stat) => (stat.dev, stat.ino, stat.rdev),
            // The inode in the filesystem: for a device node, that of the node.
            //
            // SAFETY: The file is alive, and so are its inode and superblock. None of the numbers
            // changes.
            Err(err) if is_refusal(err) => unsafe {
                let inode = (*self.as_ptr()).f_inode;
                ((*(*inode).i_sb).s_dev, (*inode).i_ino, (*inode).i_rdev)
            },
            Err(err) => return Err(err),
        };
        Ok(FileId {
            dev: huge_encode_dev(dev),
            ino,
            rdev: huge_encode_dev(rdev),
        })
    }

    /// Returns the alignment for direct I/O, if the filesystem reports it.
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn dio_align(&self) -> Result<Option<DioAlign>> {
        let stat = self.getattr(bindings::STATX_DIOALIGN, 0)?;
        let is_reported = stat.result_mask & bindings::STATX_DIOALIGN != 0;
        Ok(is_reported.then_some(DioAlign {
            offset: stat.dio_offset_align,
            mem: stat.dio_mem_align,
        }))
    }

    /// Asks the filesystem for attributes (`vfs_getattr()`).
    fn getattr(&self, request_mask: u32, flags: u32) -> Result<bindings::kstat> {
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The file is alive; `stat` is valid for writes.
        to_result(unsafe {
            bindings::vfs_getattr(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                stat.as_mut_ptr(),
                request_mask,
                flags,
            )
        })?;
        // SAFETY: `vfs_getattr` has filled it in.
        Ok(unsafe { stat.assume_init() })
    }

    /// Returns the block size of the filesystem, in bytes.
    ///
    /// The block size of the inode is used in two cases:
    ///
    /// - The filesystem [refuses](is_refusal) to answer. FUSE does so by returning 0.
    /// - The answer is not a valid block size. A FUSE server may return any number.
    ///
    /// # Errors
    ///
    /// That of the filesystem.
    pub(crate) fn fs_block_size(&self) -> Result<u32> {
        let mut bsize = 0;
        // SAFETY: The file is alive; `bsize` is valid for writes.
        let ret = to_result(unsafe {
            bindings::rust_loop_helper_vfs_statfs_bsize(
                &(*self.as_ptr()).__bindgen_anon_1.f_path,
                &mut bsize,
            )
        });
        match ret {
            Err(err) if !is_refusal(err) => return Err(err),
            _ => (),
        }
        Ok(match u32::try_from(bsize) {
            Ok(bsize) if bsize.is_power_of_two() && bsize >= SECTOR_SIZE => bsize,
            _ => self.inode_block_size(),
        })
    }

    /// Returns the block size of the inode that holds the data, in bytes. Any context.
    pub(crate) fn inode_block_size(&self) -> u32 {
        // SAFETY: The file is alive, and so is its inode.
        unsafe { bindings::rust_loop_helper_i_blocksize(inode(&self.file)) }
    }

    /// Returns the name of the filesystem type, such as `b"ext4"`. Any context.
    pub(crate) fn fs_type_name(&self) -> &[u8] {
        // SAFETY: The file is alive, and so are its inode, superblock and filesystem type.
        let name = unsafe { (*(*(*inode(&self.file)).i_sb).s_type).name };
        // SAFETY: The name is a NUL-terminated string that does not change.
        unsafe { CStr::from_char_ptr(name) }.to_bytes()
    }

    /// Returns whether the inode is written synchronously (`IS_SYNC()`). Any context.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: The file is alive, and so is its inode.
        unsafe { bindings::rust_loop_helper_is_sync(inode(&self.file)) }
    }

    /// Returns whether it is known that the file has no privileges that a write removes: no mode
    /// bits and no security attributes (`IS_NOSEC()`). A write finds that out for the later ones. Any
    /// context.
    pub(crate) fn is_nosec(&self) -> bool {
        // SAFETY: The file is alive, and so is its inode.
        unsafe { bindings::rust_loop_helper_is_nosec(inode(&self.file)) }
    }

    /// Returns whether all blocks of a range are known to be allocated and written (`bmap()`).
    ///
    /// Unwritten extents and holes have no block. `bmap()` also writes back the whole file, so
    /// nothing is known about a file with a dirty page cache.
    pub(crate) fn is_written(&self, pos: u64, len: u32) -> bool {
        let inode = inode(&self.file);
        // SAFETY: The file is alive, and so are its inode and the mapping of that.
        let is_dirty = unsafe { bindings::rust_loop_helper_mapping_has_dirty((*inode).i_mapping) };
        if is_dirty || len == 0 {
            return false;
        }
        // SAFETY: The inode is alive.
        let shift = unsafe { (*inode).i_blkbits };
        let last = pos.saturating_add(u64::from(len) - 1);
        (pos >> shift..=last >> shift).all(|block| {
            let mut found = block;
            // SAFETY: The inode is alive; `found` is valid for reads and writes.
            let ret = unsafe { bindings::bmap(inode, &mut found) };
            ret == 0 && found != 0
        })
    }

    /// Updates the modification time (`file_update_time()`), so that a write that follows at once
    /// does not. An error is ignored, because the write meets it again.
    pub(crate) fn update_time(&self) {
        // SAFETY: The file is alive.
        unsafe { bindings::rust_loop_helper_file_start_write(self.as_ptr()) };
        // SAFETY: The file is alive, and its filesystem is not frozen.
        unsafe { bindings::file_update_time(self.as_ptr()) };
        // SAFETY: Balances `file_start_write` above.
        unsafe { bindings::rust_loop_helper_file_end_write(self.as_ptr()) };
    }

    /// Writes the path of the file to `buf` and returns it (`file_path()`).
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` if it does not fit.
    pub(crate) fn path<'b>(&self, buf: &'b mut [u8]) -> Result<&'b BStr> {
        let len = buf.len().try_into()?;
        // SAFETY: The file is alive, and `buf` is valid for writes of `len` bytes.
        let path = from_err_ptr(unsafe {
            bindings::file_path(self.as_ptr(), buf.as_mut_ptr().cast(), len)
        })?;
        // SAFETY: `file_path` returns a NUL-terminated string within `buf`.
        let path = unsafe { CStr::from_char_ptr(path) };
        Ok(BStr::from_bytes(path.to_bytes()))
    }
}

/// Encodes a device number for user space.
fn huge_encode_dev(dev: bindings::dev_t) -> u64 {
    // SAFETY: Pure arithmetic without preconditions.
    unsafe { bindings::rust_loop_helper_huge_encode_dev(dev) }
}
