// SPDX-License-Identifier: GPL-2.0

//! The block device below a file: the file itself if it is a device, else the device that its
//! filesystem is on.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    block_device,
    inode,
    stat::DioAlign,
    BackingFile, //
};
use crate::abstractions::bindings;
use core::ptr::NonNull;

/// Limits of the block device below a file. All zero if there is none.
#[derive(Clone, Copy, Default)]
pub(crate) struct BackingLimits {
    /// Whether the file is the device itself.
    pub(crate) is_device: bool,
    /// Whether seeking is expensive.
    pub(crate) rotational: bool,
    /// Largest range that can be zeroed at once, in sectors.
    pub(crate) write_zeroes_sectors: u32,
    /// Size of the units that can be discarded, in bytes.
    pub(crate) discard_granularity: u32,
    /// Position of the first such unit, in bytes.
    pub(crate) discard_alignment: u32,
    /// Logical block size, in bytes.
    pub(crate) logical_block_size: u32,
}

impl BackingFile {
    /// Returns the limits of the block device below. Any context.
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::abstractions::fs::BackingFile;
    ///
    /// /// Returns the size of the units that can be discarded, in bytes.
    /// fn granularity(file: &BackingFile) -> u32 {
    ///     let below = file.backing_limits();
    ///     below.discard_granularity.max(below.logical_block_size)
    /// }
    /// ```
    pub(crate) fn backing_limits(&self) -> BackingLimits {
        let Some(bdev) = self.lower_bdev().map(NonNull::as_ptr) else {
            return BackingLimits::default();
        };
        // SAFETY: The file keeps the device alive.
        unsafe {
            BackingLimits {
                is_device: self.is_block_device(),
                rotational: bindings::rust_loop_helper_bdev_rot(bdev),
                write_zeroes_sectors: bindings::rust_loop_helper_bdev_write_zeroes_sectors(bdev),
                discard_granularity: bindings::rust_loop_helper_bdev_discard_granularity(bdev),
                discard_alignment: bindings::rust_loop_helper_bdev_discard_alignment(bdev),
                logical_block_size: bindings::rust_loop_helper_bdev_logical_block_size(bdev),
            }
        }
    }

    /// Returns the alignment that the block device below requires for direct I/O. `None` if there
    /// is no device. Any context.
    pub(crate) fn lower_dio_align(&self) -> Option<DioAlign> {
        let bdev = self.lower_bdev()?.as_ptr();
        // SAFETY: The file keeps the device alive.
        let offset = unsafe { bindings::rust_loop_helper_bdev_logical_block_size(bdev) };
        // SAFETY: The file keeps the device alive.
        let mem = unsafe { bindings::rust_loop_helper_bdev_dma_alignment(bdev) } + 1;
        Some(DioAlign { offset, mem })
    }

    /// Returns whether the memory of a direct write must not change before the write is done, for
    /// example because something below computes checksums or parity of it. Any context.
    pub(crate) fn needs_stable_writes(&self) -> bool {
        // SAFETY: The mapping is alive.
        if unsafe { bindings::rust_loop_helper_mapping_stable_writes(self.mapping()) } {
            return true;
        }
        // SAFETY: The file keeps the device alive.
        self.lower_bdev().is_some_and(|bdev| unsafe {
            bindings::rust_loop_helper_bdev_stable_writes(bdev.as_ptr())
        })
    }

    /// Returns the block device below. It is open as long as the file.
    pub(in crate::abstractions) fn lower_bdev(&self) -> Option<NonNull<bindings::block_device>> {
        let inode = inode(&self.file);
        // SAFETY: The file is alive, and so is its superblock.
        block_device(&self.file).or_else(|| NonNull::new(unsafe { (*(*inode).i_sb).s_bdev }))
    }
}
