// SPDX-License-Identifier: GPL-2.0

//! Queue limits.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::gen_disk::GenDisk;
use crate::abstractions::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::NotThreadSafe, //
};

/// Block sizes of a device, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockSizes {
    /// Smallest unit that the device can address (`logical_block_size`).
    pub(crate) logical: u32,
    /// Smallest unit that the device writes without reading before (`physical_block_size`).
    pub(crate) physical: u32,
    /// Smallest preferred size of I/O (`io_min`).
    pub(crate) io_min: u32,
}

impl BlockSizes {
    /// Returns equal block sizes.
    pub(crate) const fn all(bytes: u32) -> Self {
        Self {
            logical: bytes,
            physical: bytes,
            io_min: bytes,
        }
    }
}

/// Limits that a driver sets ([`struct queue_limits`](srctree/include/linux/blkdev.h)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueLimits {
    /// Block sizes.
    pub(crate) block_sizes: BlockSizes,
    /// Alignment of the addresses and lengths of bvecs, in bytes; a power of two, at most a page.
    pub(crate) dma_alignment: u32,
    /// Whether written data has to be flushed to be durable (`BLK_FEAT_WRITE_CACHE`).
    pub(crate) write_cache: bool,
    /// Whether the device supports writes that are durable when they are done (`BLK_FEAT_FUA`).
    pub(crate) fua: bool,
    /// Whether seeking is expensive (`BLK_FEAT_ROTATIONAL`).
    pub(crate) rotational: bool,
    /// Whether the memory of a write must not change before the write is done
    /// (`BLK_FEAT_STABLE_WRITES`).
    pub(crate) stable_writes: bool,
    /// Largest range that can be discarded at once, in sectors; 0 if none can.
    pub(crate) max_discard_sectors: u32,
    /// Largest range that can be zeroed at once, in sectors; 0 if none can.
    pub(crate) max_write_zeroes_sectors: u32,
    /// Size of the units that can be discarded, in bytes.
    pub(crate) discard_granularity: u32,
    /// Position of the first such unit, in bytes.
    pub(crate) discard_alignment: u32,
}

/// The limits of a queue, locked for an update.
///
/// Nothing that enters a filesystem may be called while this lives. Limits are also updated with
/// the queue frozen, which waits for I/O.
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::{
///     gen_disk::GenDisk,
///     queue_limits::QueueLimits, //
/// };
/// use kernel::prelude::*;
///
/// /// Replaces the limits of a disk while it has no I/O in flight.
/// fn replace<T>(disk: &GenDisk<T>, limits: &QueueLimits) -> Result {
///     let mut update = disk.start_limits_update();
///     update.set(limits);
///     disk.while_frozen(|_| update.commit())
/// }
/// ```
pub(crate) struct LimitsUpdate<'a, T> {
    disk: &'a GenDisk<T>,
    lim: bindings::queue_limits,
    /// Whether the limits have been unlocked.
    committed: bool,
    // The lock is a mutex, which belongs to a task.
    _not_send: NotThreadSafe,
}

impl<T> GenDisk<T> {
    /// Locks the limits of the disk's queue (`queue_limits_start_update()`). May sleep.
    pub(crate) fn start_limits_update(&self) -> LimitsUpdate<'_, T> {
        // SAFETY: The queue lives as long as the disk.
        let lim = unsafe { bindings::rust_loop_helper_queue_limits_start_update(self.queue()) };
        LimitsUpdate {
            disk: self,
            lim,
            committed: false,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T> LimitsUpdate<'_, T> {
    /// Replaces all limits that a driver sets.
    pub(crate) fn set(&mut self, limits: &QueueLimits) {
        self.set_block_sizes(limits.block_sizes);
        // The field is a mask. The block layer replaces 0 by its default, so that an alignment
        // of 1 is not possible.
        self.lim.dma_alignment = limits.dma_alignment.max(2) - 1;
        self.set_feature(
            bindings::RUST_LOOP_CONST_BLK_FEAT_WRITE_CACHE,
            limits.write_cache,
        );
        self.set_feature(bindings::RUST_LOOP_CONST_BLK_FEAT_FUA, limits.fua);
        self.set_feature(
            bindings::RUST_LOOP_CONST_BLK_FEAT_ROTATIONAL,
            limits.rotational,
        );
        self.set_feature(
            bindings::RUST_LOOP_CONST_BLK_FEAT_STABLE_WRITES,
            limits.stable_writes,
        );
        self.lim.max_hw_discard_sectors = limits.max_discard_sectors;
        self.lim.max_write_zeroes_sectors = limits.max_write_zeroes_sectors;
        self.lim.discard_granularity = limits.discard_granularity;
        self.lim.discard_alignment = limits.discard_alignment;
    }

    /// Resets limits that user space has set (`/sys/block/NAME/queue/`) to those of a new queue,
    /// except for limits that [`Self::set`] replaces. For a disk that shows another medium, of
    /// another user.
    pub(crate) fn reset_user(&mut self) {
        self.lim.max_user_sectors = 0;
        self.lim.max_user_discard_sectors = u32::MAX;
        self.lim.max_user_wzeroes_unmap_sectors = u32::MAX;
        self.lim.flags &= !(bindings::RUST_LOOP_CONST_BLK_FLAG_WRITE_CACHE_DISABLED
            | bindings::RUST_LOOP_CONST_BLK_FLAG_IOSTATS_PASSTHROUGH);
        self.set_feature(bindings::RUST_LOOP_CONST_BLK_FEAT_IO_STAT, true);
        self.set_feature(bindings::RUST_LOOP_CONST_BLK_FEAT_ADD_RANDOM, false);
    }

    /// Replaces [`QueueLimits::discard_alignment`].
    pub(crate) fn set_discard_alignment(&mut self, bytes: u32) {
        self.lim.discard_alignment = bytes;
    }

    /// Replaces [`QueueLimits::block_sizes`].
    pub(crate) fn set_block_sizes(&mut self, sizes: BlockSizes) {
        self.lim.logical_block_size = sizes.logical;
        self.lim.physical_block_size = sizes.physical;
        self.lim.io_min = sizes.io_min;
    }

    fn set_feature(&mut self, feature: bindings::blk_features_t, on: bool) {
        if on {
            self.lim.features |= feature;
        } else {
            self.lim.features &= !feature;
        }
    }

    /// Applies the update and unlocks the limits (`queue_limits_commit_update()`). There must be no
    /// I/O in flight. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the limits are not valid. They are unchanged then.
    pub(crate) fn commit(mut self) -> Result {
        self.committed = true;
        let queue = self.disk.queue();
        // SAFETY: This task has locked the limits. The call unlocks them, and `drop` does not.
        to_result(unsafe { bindings::queue_limits_commit_update(queue, &mut self.lim) })?;
        let stable = self.lim.features & bindings::RUST_LOOP_CONST_BLK_FEAT_STABLE_WRITES != 0;
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_set_stable_writes(self.disk.as_raw(), stable) };
        Ok(())
    }
}

impl<T> Drop for LimitsUpdate<'_, T> {
    fn drop(&mut self) {
        if !self.committed {
            // SAFETY: This task has locked the limits.
            unsafe { bindings::rust_loop_helper_queue_limits_cancel_update(self.disk.queue()) };
        }
    }
}
