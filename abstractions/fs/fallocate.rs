// SPDX-License-Identifier: GPL-2.0

//! Changing the allocation of a file.
//!
//! C header: [`include/uapi/linux/falloc.h`](srctree/include/uapi/linux/falloc.h)

use super::{
    block_device,
    BackingFile, //
};
use crate::abstractions::{
    bindings,
    compat::errno::EOPNOTSUPP, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// Mode of `fallocate()` (`FALLOC_FL_*`). No mode changes the file size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FallocateMode {
    /// Deallocate the range (`FALLOC_FL_PUNCH_HOLE`). It reads as zeroes afterwards.
    PunchHole,
    /// Make the range read as zeroes, and keep it allocated (`FALLOC_FL_ZERO_RANGE`).
    ZeroRange,
}

impl FallocateMode {
    fn as_raw(self) -> i32 {
        let mode = match self {
            Self::PunchHole => bindings::FALLOC_FL_PUNCH_HOLE,
            Self::ZeroRange => bindings::FALLOC_FL_ZERO_RANGE,
        };
        (mode | bindings::FALLOC_FL_KEEP_SIZE) as i32
    }
}

impl BackingFile {
    /// Changes the allocation of `len` bytes at byte `pos`. Waits while the filesystem is frozen.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` if the file has no `fallocate` method;
    /// - `EBADF` if it is not open for writing;
    /// - the error of the filesystem.
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::abstractions::fs::{
    ///     BackingFile,
    ///     FallocateMode, //
    /// };
    /// use kernel::prelude::*;
    ///
    /// /// Deallocates the first MiB of a file, if the filesystem supports this.
    /// fn discard(file: &BackingFile) -> Result {
    ///     if file.has_fallocate() {
    ///         file.fallocate(FallocateMode::PunchHole, 0, 1 << 20)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub(crate) fn fallocate(&self, mode: FallocateMode, pos: u64, len: u64) -> Result {
        self.check_open_for_write()?;
        let (pos, len) = (pos.try_into()?, len.try_into()?);
        // SAFETY: The file is alive.
        let Some(fallocate) = (unsafe { (*self.f_op()).fallocate }) else {
            return Err(EOPNOTSUPP);
        };
        // As in `vfs_fallocate()`, the filesystem must not be frozen meanwhile.
        //
        // SAFETY: The file is alive.
        unsafe { bindings::rust_loop_helper_file_start_write(self.as_ptr()) };
        // SAFETY: This is a method of the file, which is open for writing.
        let ret = unsafe { fallocate(self.as_ptr(), mode.as_raw(), pos, len) };
        // SAFETY: Balances `file_start_write` above.
        unsafe { bindings::rust_loop_helper_file_end_write(self.as_ptr()) };
        to_result(ret as i32)
    }

    /// Returns whether the file has a `fallocate` method.
    pub(crate) fn has_fallocate(&self) -> bool {
        // SAFETY: The file is alive.
        unsafe { (*self.f_op()).fallocate.is_some() }
    }

    /// Returns candidates for the alignment of ranges that [`Self::fallocate`] accepts, in bytes,
    /// the smallest first. Any context.
    ///
    /// A block device takes whole logical blocks. Most filesystems take any range; some take
    /// whole blocks only.
    pub(crate) fn fallocate_alignments(&self) -> [u32; 2] {
        let first = match block_device(&self.file) {
            // SAFETY: The file keeps the device alive.
            Some(bdev) => unsafe {
                bindings::rust_loop_helper_bdev_logical_block_size(bdev.as_ptr())
            },
            None => 1,
        };
        [first, first.max(self.inode_block_size())]
    }
}
