// SPDX-License-Identifier: GPL-2.0

//! Workqueues of a driver's own.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    workqueue::{
        Queue,
        RawWorkItem, //
    },
};

/// A workqueue that is destroyed when this is dropped.
///
/// # Invariants
///
/// The pointer is to a live `struct workqueue_struct` that we own.
pub(crate) struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: Queueing and flushing are serialised by the workqueue itself.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Allocates a workqueue whose workers are bound to no CPU and which stands
    /// still while the system is being suspended. It has a thread of its own for
    /// when there is no memory for workers, as what is done there may be what gives
    /// back memory (`WQ_MEM_RECLAIM`). May sleep.
    ///
    /// The kernel warns if what runs there waits for a workqueue that has no such thread, as
    /// that may have to wait for memory. Filesystems do that, on behalf of whoever writes, when
    /// they are full (`xfs_flush_inodes`, `ext4_should_retry_alloc`), and without the thread
    /// it would be no better. So this is a workqueue as `create_freezable_workqueue()` makes
    /// them, which may (`__WQ_LEGACY`), but for several workers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new_unbound_freezable(name: &CStr) -> Result<Self> {
        Self::new(
            name,
            bindings::RUST_LOOP_CONST_WQ_UNBOUND
                | bindings::RUST_LOOP_CONST_WQ_FREEZABLE
                | bindings::RUST_LOOP_CONST_WQ_MEM_RECLAIM
                | bindings::RUST_LOOP_CONST_WQ_LEGACY,
        )
    }

    /// Allocates a workqueue that runs what is queued on the CPU on which that was done,
    /// and which stands still while the system is being suspended. What it runs holds up
    /// nothing else there (`WQ_CPU_INTENSIVE`). If there is no memory for workers it waits
    /// for some. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new_bound_freezable(name: &CStr) -> Result<Self> {
        Self::new(
            name,
            bindings::RUST_LOOP_CONST_WQ_PERCPU
                | bindings::RUST_LOOP_CONST_WQ_FREEZABLE
                | bindings::RUST_LOOP_CONST_WQ_CPU_INTENSIVE,
        )
    }

    fn new(name: &CStr, flags: u32) -> Result<Self> {
        // SAFETY: `name` is a NUL-terminated string, which is copied.
        let queue = unsafe {
            bindings::rust_loop_helper_alloc_workqueue(
                kernel::str::CStrExt::as_char_ptr(name),
                flags,
            )
        };
        // INVARIANT: Just allocated, and nobody else knows of it.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Returns the workqueue; it lives as long as `self`. Any context.
    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }

    /// Queues a work item. Any context. Returns an error with the item if that is queued
    /// already, for the kinds of pointers for which that is possible.
    ///
    /// Delayed work items cannot be queued: their timer does not belong to the workqueue,
    /// and could expire after that has been destroyed. So there is no `Deref` to
    /// [`Queue`].
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
    /// Waits for queued work to finish. Sleeps.
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the workqueue, and as we are
        // being dropped nobody can queue on it any more.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
