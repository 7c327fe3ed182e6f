// SPDX-License-Identifier: GPL-2.0

//! The unbound workqueues that all devices share, one for each level of a stack.
//!
//! A workqueue has a thread that runs its work when no other thread can be created
//! (`WQ_MEM_RECLAIM`), as that work may be what gives back memory. The thread runs one work
//! item at a time. If the data of a device are on another one, the worker of the upper device
//! may wait for that of the lower one, which the thread would never come to. So devices of
//! different levels use different workqueues.
//!
//! The level of a device is one more than that of the device that its file is, or that the
//! filesystem of its file is on. Through drivers in between, as device mapper, the levels are
//! not seen, and below the last one several share it. There, and only while no thread can be
//! created, an upper device may keep a lower one waiting.

use crate::abstractions::workqueue::{
    OwnedQueue,
    WqFlag, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// How many levels have a workqueue of their own. A thread each.
const LEVELS: usize = 4;

/// Allocates an unbound workqueue with a rescuer, which stands still while the system is suspended.
/// Its workers may wait for each other, so as many as possible run at the same time. May sleep.
///
/// The kernel warns if work on such a workqueue waits for a workqueue without a rescuer
/// (`check_flush_dependency()`), because that may have to wait for memory. Full filesystems do wait
/// so, on behalf of any task that writes (`xfs_flush_inodes()`, `ext4_should_retry_alloc()`). A
/// workqueue without a rescuer would not avoid the wait. So the workqueue is marked as legacy, like
/// those of `create_freezable_workqueue()`, which may wait so.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn new_reclaim_queue(name: &CStr) -> Result<OwnedQueue> {
    let flags = WqFlag::Unbound | WqFlag::Freezable | WqFlag::MemReclaim | WqFlag::Legacy;
    OwnedQueue::new(name, flags, OwnedQueue::MAX_ACTIVE)
}

/// See the head of this file.
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

    /// Returns the workqueue for devices that have `level` devices of this driver below. Any
    /// context.
    pub(crate) fn of_level(&self, level: usize) -> &Arc<OwnedQueue> {
        let [first, ..] = &self.0;
        self.0.get(level).or(self.0.last()).unwrap_or(first)
    }
}
