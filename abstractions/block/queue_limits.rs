// SPDX-License-Identifier: GPL-2.0

//! What a queue tells the block layer about the device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::gen_disk::Disk;
use crate::abstractions::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::NotThreadSafe, //
};

/// The limits that a driver sets (`struct queue_limits`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Logical, physical and minimum I/O size, in bytes.
    pub(crate) block_size: u32,
    /// What the addresses and lengths of a transfer's pieces in memory are multiples
    /// of, in bytes: a power of two, at most a page.
    pub(crate) dma_alignment: u32,
    /// Whether what is written has to be flushed to be durable.
    pub(crate) write_cache: bool,
    /// Whether a write can be asked to be durable when it is done.
    pub(crate) fua: bool,
    /// Whether seeking is expensive.
    pub(crate) rotational: bool,
    /// Whether the memory of a write must not change before the write has been done.
    pub(crate) stable_writes: bool,
    /// The most that can be discarded at once, in sectors; 0 for not at all.
    pub(crate) max_discard_sectors: u32,
    /// The most that can be zeroed at once, in sectors; 0 for not at all.
    pub(crate) max_write_zeroes_sectors: u32,
    /// In bytes.
    pub(crate) discard_granularity: u32,
    /// Position of the first unit of that size, in bytes.
    pub(crate) discard_alignment: u32,
}

/// The limits of a queue, locked for a change.
///
/// Nothing that enters a filesystem may be called while this lives: limits are
/// also changed with the queue frozen, which waits for I/O.
pub(crate) struct LimitsUpdate<'a, T> {
    disk: &'a Disk<T>,
    lim: bindings::queue_limits,
    /// Whether they are not locked any more.
    committed: bool,
    // The limits lock is a mutex, which belongs to a task.
    _not_send: NotThreadSafe,
}

impl<T> Disk<T> {
    /// Locks the limits of the disk's queue. May sleep.
    pub(crate) fn start_limits_update(&self) -> LimitsUpdate<'_, T> {
        LimitsUpdate {
            disk: self,
            // SAFETY: The queue lives as long as the disk.
            lim: unsafe { bindings::rust_loop_helper_queue_limits_start_update(self.queue()) },
            committed: false,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T> LimitsUpdate<'_, T> {
    /// Replaces what a driver sets.
    pub(crate) fn set(&mut self, limits: &Limits) {
        self.set_block_size(limits.block_size);
        // A mask. The block layer takes 0 for its default, so 1 is not possible.
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

    /// Forgets what user space has set (`/sys/block/NAME/queue/`), but for what
    /// [`Self::set`] replaces as well: all is as with a new queue. For when the disk shows
    /// another medium, of another user.
    pub(crate) fn reset_user(&mut self) {
        self.lim.max_user_sectors = 0;
        self.lim.max_user_discard_sectors = u32::MAX;
        self.lim.max_user_wzeroes_unmap_sectors = u32::MAX;
        self.lim.flags &= !(bindings::RUST_LOOP_CONST_BLK_FLAG_WRITE_CACHE_DISABLED
            | bindings::RUST_LOOP_CONST_BLK_FLAG_IOSTATS_PASSTHROUGH);
        self.set_feature(bindings::RUST_LOOP_CONST_BLK_FEAT_IO_STAT, true);
        self.set_feature(bindings::RUST_LOOP_CONST_BLK_FEAT_ADD_RANDOM, false);
    }

    /// Replaces [`Limits::discard_alignment`].
    pub(crate) fn set_discard_alignment(&mut self, bytes: u32) {
        self.lim.discard_alignment = bytes;
    }

    /// Sets logical, physical and minimum I/O size, in bytes.
    pub(crate) fn set_block_size(&mut self, bytes: u32) {
        self.lim.logical_block_size = bytes;
        self.lim.physical_block_size = bytes;
        self.lim.io_min = bytes;
    }

    fn set_feature(&mut self, feature: bindings::blk_features_t, on: bool) {
        if on {
            self.lim.features |= feature;
        } else {
            self.lim.features &= !feature;
        }
    }

    /// Makes the change take effect, if it is valid, and unlocks. There must be
    /// no I/O under way. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the limits are not valid; they are as before then.
    pub(crate) fn commit(mut self) -> Result {
        self.committed = true;
        let queue = self.disk.queue();
        // SAFETY: The queue's limits are locked by us; this unlocks them, and `drop` does not.
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
            // SAFETY: The queue's limits are locked by us.
            unsafe { bindings::rust_loop_helper_queue_limits_cancel_update(self.disk.queue()) };
        }
    }
}
