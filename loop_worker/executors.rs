// SPDX-License-Identifier: GPL-2.0

//! Where a worker runs.
//!
//! On the unbound workqueue of the device, as a rule: on any processor, so that commands
//! are executed while more are issued.
//!
//! But a *lone* command, which somebody waits for and which has no other beside it, is
//! executed *nearby*: on the processor that it was issued on, which has nothing else to
//! do. To wake another takes longer than to switch to the worker. 4 KiB reads, one at a
//! time, are 1.4 times as many that way; sixteen at a time would be two thirds.
//!
//! The workqueue for that is bound to processors, shared by all devices, and has no
//! thread for when there is no memory to make one: that would be one for all, and devices
//! can be on top of each other. So a worker that is to run nearby is *watched*: if it has
//! not begun when the watch ends it runs on the workqueue of its device, too, which has
//! such a thread. Where it begins first is where it runs.

use super::{
    LoopWorker,
    WorkerSet, //
};
use crate::abstractions::{
    task,
    timer::{
        self,
        Jiffies,
        Timer,
        TimerCallback, //
    },
    workqueue::OwnedQueue,
};
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};

/// Which of the work items of a [`LoopWorker`] runs anywhere.
pub(super) const ANYWHERE: u64 = 0;
/// Which one runs nearby.
pub(super) const NEARBY: u64 = 1;

/// How long a worker is given to begin nearby, in milliseconds: about as long as
/// workqueues wait for memory before they turn to their thread.
const WATCH_MSECS: u32 = 20;

/// Where the workers of one device run.
#[pin_data]
pub(super) struct Executors {
    anywhere: OwnedQueue,
    nearby: Arc<OwnedQueue>,
    set: Arc<Timer<WorkerSet>>,
    watch_for: Jiffies,
}

/// A worker that was told to run nearby and has not begun; one of a device at a time.
pub(super) struct Watched {
    worker: Option<Arc<LoopWorker>>,
    /// How often there was one.
    pub(super) nearby: u64,
    /// How often that had to run elsewhere.
    pub(super) moved: u64,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            worker: None,
            nearby: 0,
            moved: 0,
        }
    }

    /// Ends the watch over a worker, which has begun.
    pub(super) fn begun(&mut self, worker: &LoopWorker) {
        if matches!(&self.worker, Some(watched) if core::ptr::eq(&**watched, worker)) {
            // Not the last reference: who runs has one.
            self.worker = None;
        }
    }
}

impl Executors {
    /// `name` is that of the device's workqueue; `nearby` is that of all devices. May
    /// sleep.
    pub(super) fn new(
        name: &CStr,
        nearby: Arc<OwnedQueue>,
        set: Arc<Timer<WorkerSet>>,
    ) -> impl PinInit<Self, Error> + use<'_> {
        try_pin_init!(Self {
            anywhere: OwnedQueue::new_unbound_freezable(name)?,
            nearby,
            set,
            watch_for: timer::msecs_to_jiffies(WATCH_MSECS),
        })
    }

    /// Lets a worker run that is not running. `is_lone` says whether its command is. Any
    /// context, under the work lock, which `watched` is protected by.
    pub(super) fn run(
        this: &Timer<Self>,
        watched: &mut Watched,
        worker: &Arc<LoopWorker>,
        is_lone: bool,
    ) {
        // If the work is queued already the reference comes back: as good.
        if is_lone && watched.worker.is_none() && task::is_alone_on_cpu() {
            watched.worker = Some(worker.clone());
            watched.nearby += 1;
            let _ = this.nearby.enqueue::<_, NEARBY>(worker.clone());
            this.reduce(timer::jiffies().wrapping_add(this.watch_for));
        } else {
            let _ = this.anywhere.enqueue::<_, ANYWHERE>(worker.clone());
        }
    }

    /// Waits until workers that have run dry have returned, and watches no longer. Nobody
    /// queues commands any more. Sleeps.
    pub(super) fn finish(this: &Timer<Self>) {
        this.shutdown();
        this.anywhere.flush();
    }
}

impl TimerCallback for Executors {
    // It is for when nothing goes on, and then a processor may be idle.
    const DEFERRABLE: bool = false;

    /// Lets the worker that has not begun nearby run elsewhere. It may just have been
    /// queued: no harm is done.
    fn expired(this: &Timer<Self>) {
        let worker = {
            let mut inner = this.set.inner.lock();
            let worker = inner.watched.worker.take();
            inner.watched.moved += u64::from(worker.is_some());
            worker
        };
        if let Some(worker) = worker {
            let _ = this.anywhere.enqueue::<_, ANYWHERE>(worker);
        }
    }
}

impl WorkItem<ANYWHERE> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.execute_all();
    }
}

impl WorkItem<NEARBY> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.execute_all();
    }
}
