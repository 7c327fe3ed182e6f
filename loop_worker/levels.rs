// SPDX-License-Identifier: GPL-2.0

//! The unbound workqueues that all devices share, one for each level of a stack.
//!
//! Devices of different levels use different workqueues, because each workqueue has only one
//! rescuer (`WQ_MEM_RECLAIM`). The rescuer executes the work when no kworker can be created, as
//! reclaim may depend on that work. It executes one work item at a time. If a worker of an upper
//! device waited in the rescuer for a worker of a lower device, the rescuer could not execute
//! the latter.
//!
//! The level of a device is 0 if no device of this driver is known below it. Otherwise it is one
//! more than the level of the device that is its file, or that has the filesystem of its file.
//!
//! Limitation: devices behind other drivers, such as device mapper, are not seen, and all levels
//! from the last one on share a workqueue. There, an upper device can block a lower one as long
//! as no kworker can be created.

use crate::abstractions::workqueue::{
    OwnedQueue,
    WqFlag, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The number of workqueues, each of which has a rescuer thread.
const LEVELS: usize = 4;

/// Allocates an unbound workqueue with a rescuer, which is frozen while the system is suspended.
/// The maximum number of work items can be active, because workers may wait for each other. May
/// sleep.
///
/// The workqueue is marked as legacy (`__WQ_LEGACY`, like those of
/// `create_freezable_workqueue()`), so that its work may wait for workqueues without a rescuer.
/// Otherwise the kernel warns of such a wait (`check_flush_dependency()`), because the other
/// workqueue may have to wait for memory. Full filesystems wait so for any task that writes
/// (`xfs_flush_inodes()`, `ext4_should_retry_alloc()`), whether or not the workqueue has a rescuer.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn new_reclaim_queue(name: &CStr) -> Result<OwnedQueue> {
    let flags = WqFlag::Unbound | WqFlag::Freezable | WqFlag::MemReclaim | WqFlag::Legacy;
    OwnedQueue::new(name, flags, OwnedQueue::MAX_ACTIVE)
}

/// The workqueues, by level. See the head of this file.
pub(crate) struct LevelQueues([Arc<OwnedQueue>; LEVELS]);

impl LevelQueues {
    /// Creates the workqueues. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let queue = |name| -> Result<Arc<OwnedQueue>> {
            Ok(Arc::new(new_reclaim_queue(name)?, GFP_KERNEL)?)
        };
        Ok(Self([
            queue(c"rust_loop")?,
            queue(c"rust_loop_1")?,
            queue(c"rust_loop_2")?,
            queue(c"rust_loop_3")?,
        ]))
    }

    /// Returns the workqueue for devices with `level` devices of this driver below them. Any
    /// context.
    pub(crate) fn of_level(&self, level: usize) -> &Arc<OwnedQueue> {
        let [first, ..] = &self.0;
        self.0.get(level).or(self.0.last()).unwrap_or(first)
    }
}
