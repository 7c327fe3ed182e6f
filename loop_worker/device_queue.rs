// SPDX-License-Identifier: GPL-2.0

//! The workqueue of a device that has a backing file.
//!
//! It has a thread that runs its work when no other thread can be created
//! (`WQ_MEM_RECLAIM`), as that work may be what gives back memory. Each device needs one of
//! its own: if the data of one device are on another one, the worker of the upper device waits
//! for that of the lower one, and a thread that both share would wait for itself. So the
//! workqueue is created when the device is attached, not when a command needs it, and a device
//! without a backing file has none.
//!
//! To create a thread and to end it takes longer than all else that attaching does. So the
//! driver keeps one workqueue for the device that is attached next.

use crate::abstractions::{
    sync::{
        new_spinlock_irq,
        SpinLockIrq, //
    },
    workqueue::OwnedQueue,
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};

/// The workqueue of a device, for its workers and for transfers that have been deferred.
///
/// Whoever drops the last reference waits for the work that is queued: process context,
/// without locks. Commands have references as well, but end before that of the device goes.
#[pin_data]
pub(crate) struct DeviceQueue {
    queue: OwnedQueue,
    /// Drops a reference, see [`QueueLease`].
    #[pin]
    disposal: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for DeviceQueue { self.disposal }
}

impl DeviceQueue {
    fn new() -> Result<Arc<Self>> {
        let queue = OwnedQueue::new_unbound_freezable(c"rust_loop")?;
        Arc::pin_init(
            pin_init!(Self {
                queue,
                disposal <- new_work!("DeviceQueue::disposal"),
            }),
            GFP_KERNEL,
        )
    }
}

impl Deref for DeviceQueue {
    type Target = OwnedQueue;

    fn deref(&self) -> &OwnedQueue {
        &self.queue
    }
}

impl WorkItem for DeviceQueue {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        drop(this);
    }
}

/// The workqueue that is kept for the next device.
#[pin_data]
pub(crate) struct QueuePool {
    #[pin]
    spare: SpinLockIrq<Option<Arc<DeviceQueue>>>,
    /// Where workqueues are destroyed.
    disposals: Arc<OwnedQueue>,
}

impl QueuePool {
    /// Creates an empty pool. Workqueues will be destroyed on `disposals`.
    pub(crate) fn new(disposals: Arc<OwnedQueue>) -> impl PinInit<Self> {
        pin_init!(Self {
            spare <- new_spinlock_irq!(None, "rust_loop_queue_pool"),
            disposals,
        })
    }

    /// Takes the workqueue that is kept, or creates one. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for a task that is killed meanwhile.
    pub(crate) fn take(this: &Arc<Self>) -> Result<(Arc<DeviceQueue>, QueueLease)> {
        let queue = match this.spare.with(Option::take) {
            Some(queue) => queue,
            None => DeviceQueue::new()?,
        };
        let lease = QueueLease {
            queue: Some(queue.clone()),
            pool: this.clone(),
        };
        Ok((queue, lease))
    }
}

/// A workqueue that goes back to the pool when this is dropped.
///
/// That neither waits nor sleeps, though work may be about to return: a workqueue that is not
/// kept is destroyed by a work item. So it can be dropped with `open_mutex` held, which the
/// filesystems that the work has entered may depend on.
pub(crate) struct QueueLease {
    /// `None` once this is being dropped.
    queue: Option<Arc<DeviceQueue>>,
    pool: Arc<QueuePool>,
}

impl Drop for QueueLease {
    fn drop(&mut self) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let surplus = self.pool.spare.with(|spare| match spare {
            Some(_) => Some(queue),
            None => {
                *spare = Some(queue);
                None
            }
        });
        if let Some(queue) = surplus {
            // It is queued once, as a workqueue that has been here does not come back.
            let _ = self.pool.disposals.enqueue(queue);
        }
    }
}
