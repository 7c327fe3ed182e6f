// SPDX-License-Identifier: GPL-2.0

//! Where a worker runs.
//!
//! On the unbound workqueue of the device, as a rule: on any processor, so that commands
//! are executed while more are issued.
//!
//! But a *lone* command, which somebody waits for and which has no other beside it, is
//! executed *nearby*: on the processor that it was issued on, which most likely has
//! nothing else to do. To wake another takes longer than to switch to the worker. 4 KiB
//! reads, one at a time, are 1.4 times as many that way; sixteen at a time would be two
//! thirds, so a worker that finds more commands goes on anywhere.
//!
//! The workqueue for that is bound to processors, shared by all devices, and has no
//! thread for when there is no memory to make one: that would be one for all, and devices
//! can be on top of each other. So a worker that is to run nearby is *watched*: if it has
//! not begun when the watch ends it runs on the workqueue of its level, too, which has
//! such a thread. Where it begins first is where it runs. If it begins late, as its
//! processor has something to do, all run anywhere for a while, so that little time is
//! lost that way. What has begun nearby ends there: if a realtime task takes the processor
//! while the worker waits for the file, the worker gets what the scheduler leaves to others.

use super::{
    LoopWorker,
    Whose,
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

/// How long a worker is given to begin nearby, in milliseconds.
const WATCH_MSECS: u32 = 20;

/// How long is late, in milliseconds: others had their turn there.
const NEARBY_LATE_MSECS: u32 = 4;

/// For how many times as long as something was held up, by what a processor does besides,
/// it is not left to that again.
pub(super) const PAUSE: u64 = 25;

/// Where the workers of one device run.
#[pin_data]
pub(super) struct Executors {
    nearby: Arc<OwnedQueue>,
    set: Arc<Timer<WorkerSet>>,
}

impl Executors {
    /// `nearby` is the workqueue of all devices, `set` that of the workers of this device.
    pub(super) fn new(nearby: Arc<OwnedQueue>, set: Arc<Timer<WorkerSet>>) -> impl PinInit<Self> {
        pin_init!(Self { nearby, set })
    }

    /// Lets a worker run that is not running. `is_lone` says whether its command is. Any
    /// context, under the work lock, which `dispatch` is protected by.
    pub(super) fn run(
        this: &Timer<Self>,
        dispatch: &mut Dispatch,
        worker: &Arc<LoopWorker>,
        is_lone: bool,
    ) {
        if is_lone && dispatch.may_run_nearby() && task::may_run_beside_current() {
            let queued = this.nearby.enqueue::<_, NEARBY>(worker.clone());
            if queued.is_ok() {
                this.reduce(dispatch.watch(worker.clone()));
                return;
            }
            // It is still there from before, and watched no longer.
        }
        dispatch.run_anywhere(worker);
    }

    /// Watches no longer, and queues no more workers. No request is queued any more. Sleeps.
    pub(super) fn finish(this: &Timer<Self>) {
        this.shutdown();
        let queues = this.set.inner.with(|inner| inner.dispatch.queues.take());
        drop(queues);
    }
}

impl TimerCallback for Executors {
    // It is for when nothing goes on, and then a processor may be idle.
    const DEFERRABLE: bool = false;

    /// Lets a worker run anywhere that has not begun nearby for too long.
    fn expired(this: &Timer<Self>) {
        this.set.inner.with(|inner| {
            if let Some(again) = inner.dispatch.look() {
                this.reduce(again);
            }
        });
    }
}

/// The unbound workqueues.
struct Queues {
    /// That of the device's level in a stack, while it has a backing file.
    anywhere: Option<Arc<OwnedQueue>>,
    /// That of all devices for writing swap. When there is no memory for more threads each
    /// has one left: here it waits for nothing but swap.
    swap: Arc<OwnedQueue>,
}

/// What the work lock protects of where workers run.
pub(super) struct Dispatch {
    /// `None` when nothing is to be queued there any more. Workers do not own them: the
    /// last one would wait for itself.
    queues: Option<Queues>,
    /// A worker that was told to run nearby and has not begun: one at a time.
    watched: Option<Arc<LoopWorker>>,
    /// Since when it is watched.
    since: Jiffies,
    /// Whether it was told to run anywhere, too.
    is_moved: bool,
    /// Until when nothing runs nearby.
    paused_until: Option<Jiffies>,
    /// How often a worker was told to run nearby.
    pub(super) nearby: u64,
    /// How often it did not begin in time, and began elsewhere.
    pub(super) moved: u64,
}

impl Dispatch {
    /// Makes what tells workers where to run. Those that write swap run on `swap`.
    pub(super) fn new(swap: Arc<OwnedQueue>) -> Self {
        Self {
            queues: Some(Queues {
                anywhere: None,
                swap,
            }),
            watched: None,
            since: 0,
            is_moved: false,
            paused_until: None,
            nearby: 0,
            moved: 0,
        }
    }

    /// Replaces the workqueue of the device. Returns the one before, to be dropped without
    /// locks. Any context.
    pub(super) fn set_queue(&mut self, queue: Option<Arc<OwnedQueue>>) -> Option<Arc<OwnedQueue>> {
        match &mut self.queues {
            Some(queues) => core::mem::replace(&mut queues.anywhere, queue),
            None => queue,
        }
    }

    /// Lets a worker run anywhere. Any context.
    ///
    /// Without a backing file there is no command, so it has nothing to do.
    pub(super) fn run_anywhere(&self, worker: &Arc<LoopWorker>) {
        let Some(queues) = &self.queues else {
            return;
        };
        let queue = match (&worker.whose, &queues.anywhere) {
            (Whose::Swap, _) => &*queues.swap,
            (_, Some(anywhere)) => &**anywhere,
            (_, None) => return,
        };
        // If it is queued already the reference comes back: as good.
        let _ = queue.enqueue::<_, ANYWHERE>(worker.clone());
    }

    fn may_run_nearby(&mut self) -> bool {
        if let Some(until) = self.paused_until {
            if !timer::is_past(until) {
                return false;
            }
            self.paused_until = None;
        }
        self.watched.is_none()
    }

    /// Lets nothing run nearby for a while if the watched worker is late.
    fn pause_if_late(&mut self) {
        let now = timer::jiffies();
        let late = now.wrapping_sub(self.since);
        if late > timer::msecs_to_jiffies(NEARBY_LATE_MSECS) {
            self.paused_until = Some(now.wrapping_add(late.saturating_mul(PAUSE as Jiffies)));
        }
    }

    /// Begins to watch a worker. Returns when to look.
    fn watch(&mut self, worker: Arc<LoopWorker>) -> Jiffies {
        self.watched = Some(worker);
        self.since = timer::jiffies();
        self.is_moved = false;
        self.nearby += 1;
        self.end()
    }

    /// Returns when the watch ends.
    fn end(&self) -> Jiffies {
        self.since
            .wrapping_add(timer::msecs_to_jiffies(WATCH_MSECS))
    }

    /// Ends the watch over a worker, which has begun.
    pub(super) fn begun(&mut self, worker: &LoopWorker, is_nearby: bool) {
        if !matches!(&self.watched, Some(watched) if core::ptr::eq(&**watched, worker)) {
            return;
        }
        // Not the last reference: who runs has one.
        self.watched = None;
        self.moved += u64::from(self.is_moved && !is_nearby);
        self.pause_if_late();
    }

    /// Lets the watched worker run anywhere if it is time. Returns when to look again.
    fn look(&mut self) -> Option<Jiffies> {
        let worker = self.watched.as_ref().filter(|_| !self.is_moved)?;
        let end = self.end();
        if !timer::is_past(end) {
            return Some(end);
        }
        self.run_anywhere(worker);
        self.is_moved = true;
        None
    }
}

impl WorkItem<ANYWHERE> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        Self::execute_all(&this, false);
    }
}

impl WorkItem<NEARBY> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        Self::execute_all(&this, true);
    }
}
