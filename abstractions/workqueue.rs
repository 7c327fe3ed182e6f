// SPDX-License-Identifier: GPL-2.0

//! Workqueues that a driver owns.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    impl_flags,
    prelude::*,
    workqueue::{
        Queue,
        RawWorkItem, //
    },
};

impl_flags!(
    /// Properties of a workqueue (`WQ_*`).
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct WqFlags(u32);

    /// One of the [`WqFlags`].
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum WqFlag {
        /// Workers are bound to no CPU (`WQ_UNBOUND`).
        Unbound = bindings::RUST_LOOP_CONST_WQ_UNBOUND,
        /// A work item runs on the CPU on which it was queued (`WQ_PERCPU`).
        Percpu = bindings::RUST_LOOP_CONST_WQ_PERCPU,
        /// Work stands still while the system is suspended (`WQ_FREEZABLE`).
        Freezable = bindings::RUST_LOOP_CONST_WQ_FREEZABLE,
        /// The workqueue has a rescuer, so that it makes progress if there is no memory for
        /// workers (`WQ_MEM_RECLAIM`).
        MemReclaim = bindings::RUST_LOOP_CONST_WQ_MEM_RECLAIM,
        /// Work items do not delay other work items of the same CPU (`WQ_CPU_INTENSIVE`).
        CpuIntensive = bindings::RUST_LOOP_CONST_WQ_CPU_INTENSIVE,
        /// Work items may wait for a workqueue without rescuer, without a warning
        /// (`__WQ_LEGACY`, as `create_workqueue()` sets it; see `check_flush_dependency()`).
        Legacy = bindings::RUST_LOOP_CONST_WQ_LEGACY,
    }
);

/// A workqueue that is destroyed when this is dropped
/// ([`struct workqueue_struct`](srctree/include/linux/workqueue.h)).
///
/// # Invariants
///
/// The pointer is to a live `struct workqueue_struct` that we own.
///
/// # Examples
///
/// ```
/// use crate::abstractions::workqueue::{
///     OwnedQueue,
///     WqFlag, //
/// };
/// use kernel::prelude::*;
///
/// /// Allocates a workqueue for work that frees memory.
/// fn queue() -> Result<OwnedQueue> {
///     let flags = WqFlag::Unbound | WqFlag::MemReclaim;
///     OwnedQueue::new(c"example", flags, OwnedQueue::MAX_ACTIVE)
/// }
/// ```
pub(crate) struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: The workqueue itself serialises queueing and flushing.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Largest number of work items that can run at the same time (`WQ_MAX_ACTIVE`).
    pub(crate) const MAX_ACTIVE: u32 = bindings::RUST_LOOP_CONST_WQ_MAX_ACTIVE;

    /// Default number of work items that can run at the same time.
    pub(crate) const DEFAULT_ACTIVE: u32 = 0;

    /// Allocates a workqueue on which `max_active` work items can run at the same time
    /// (`alloc_workqueue()`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(name: &CStr, flags: WqFlags, max_active: u32) -> Result<Self> {
        let max_active = max_active.try_into()?;
        // SAFETY: `name` is a NUL-terminated string, which is copied.
        let queue = unsafe {
            bindings::rust_loop_helper_alloc_workqueue(name.as_char_ptr(), flags.into(), max_active)
        };
        // INVARIANT: The workqueue was just allocated.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Returns the workqueue, which lives as long as `self`. Any context.
    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }

    /// Queues a work item (`queue_work()`). Any context.
    ///
    /// Returns an error with the item if it is queued already, for the kinds of pointers for which
    /// that is possible.
    ///
    /// Delayed work items cannot be queued. Their timer does not belong to the workqueue, and
    /// could expire after the workqueue has been destroyed. For the same reason there is no
    /// `Deref` to [`Queue`].
    pub(crate) fn enqueue<W, const ID: u64>(&self, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        // SAFETY: By the type invariant the workqueue lives as long as `self`.
        let queue = unsafe { Queue::from_raw(self.0.as_ptr()) };
        queue.enqueue(item)
    }
}

impl Drop for OwnedQueue {
    /// Waits for queued work to finish (`destroy_workqueue()`). Sleeps.
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the workqueue. There is no other reference through
        // which work could be queued.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
