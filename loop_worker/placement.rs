// SPDX-License-Identifier: GPL-2.0

//! Selects the workqueue on which a worker runs.
//!
//! Problem: by default, workers run on an unbound workqueue, so that commands execute on one CPU
//! while the submitter queues more on another. A synchronous command at queue depth 1 gains
//! nothing from that: the submitter is about to sleep, so its CPU is about to become idle, and
//! switching to a worker there is cheaper than waking another CPU.
//!
//! Idea: such a command is queued on a per-CPU workqueue instead. A [`Predictor`] recognises it:
//! the previous commands of the worker came one at a time, and the submitter has slept or
//! changed since the last one.
//!
//! Gain: 4 KiB reads at queue depth 1 gain 40 %. Cost: at queue depth 16 the same placement would
//! lose a third, so a worker that finds more than one command moves to the unbound workqueue.
//!
//! Failure mode: a busy CPU starts the worker late. The per-CPU workqueue is shared by all
//! devices and has no rescuer, because devices can be stacked. Therefore at most one worker of a
//! hardware queue at a time is queued there, and a watchdog timer also queues it on the unbound
//! workqueue, which has a rescuer, if it has not started after [`WATCHDOG_MSECS`]. The worker
//! runs from whichever workqueue starts it first. If the per-CPU workqueue starts a worker late,
//! per-CPU placement is disabled for [`BACKOFF_FACTOR`] times the delay. The watchdog does
//! not move a worker that has started: if a real-time task then monopolizes the CPU, the command
//! is delayed.
//!
//! ```text
//!            schedule()                WATCHDOG_MSECS
//! not watched --------> watched -----------------------> requeued (also unbound)
//!       ^                  |                                  |
//!       +--- started() ----+--------------- started() --------+
//! ```
//!
//! Everything in here is protected by the work lock, but for the workqueues.

use crate::abstractions::{
    block::mq::RequestRef,
    task::{
        self,
        TaskStamp, //
    },
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
    workqueue::{
        HasWork,
        WorkItem, //
    },
};

/// The work item of a worker for an unbound workqueue.
pub(super) const UNBOUND: u64 = 0;
/// The work item for the per-CPU workqueue.
pub(super) const PERCPU: u64 = 1;

/// The workqueue from which a worker runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Workqueue {
    Unbound,
    PerCpu,
}

/// The time after which a worker that has not started on the per-CPU workqueue is queued on the
/// unbound one as well, in milliseconds.
const WATCHDOG_MSECS: u32 = 20;

/// The delay of a start that counts as late, in milliseconds: other tasks had their turn on the
/// CPU.
const LATE_MSECS: u32 = 4;

/// After a CPU has delayed a worker by `d`, none is queued per-CPU for `BACKOFF_FACTOR * d`.
const BACKOFF_FACTOR: Jiffies = 25;

/// A worker that can be placed. A trait, as [`PlacementOwner`] is, so that this file does not
/// depend on the others and can be replaced by a stand-in.
pub(super) trait PlacementWorker:
    WorkItem<UNBOUND, Pointer = Arc<Self>>
    + HasWork<Self, UNBOUND>
    + WorkItem<PERCPU, Pointer = Arc<Self>>
    + HasWork<Self, PERCPU>
    + Send
    + Sync
    + Sized
    + 'static
{
    /// Returns whether the worker writes swap.
    fn is_swap(&self) -> bool;
}

/// A set of workers with a placement.
pub(super) trait PlacementOwner: Send + Sync + Sized + 'static {
    /// The worker.
    type Worker: PlacementWorker;

    /// Calls `f` with the work lock held.
    fn with_placement<R>(&self, f: impl FnOnce(&mut Placement<Self>) -> R) -> R;
}

/// Whether the submitter of a command is about to wait for it.
#[derive(Clone, Copy)]
pub(super) struct Hint {
    may_be_sync_qd1: bool,
}

impl Hint {
    /// Returns the hint that a request gives by itself. `is_last` is that of `queue_rq`. Any
    /// context.
    pub(super) fn new(rq: &RequestRef, is_last: bool) -> Self {
        Self {
            may_be_sync_qd1: is_last && !rq.is_swap() && rq.is_sync(),
        }
    }
}

/// Predicts from the past of a worker whether the submitter waits for each command.
pub(super) struct Predictor {
    /// The number of commands that the worker has found since it last started.
    nr_cmds: u32,
    last_submitter: Option<TaskStamp>,
}

impl Predictor {
    pub(super) fn new() -> Self {
        Self {
            nr_cmds: 0,
            last_submitter: None,
        }
    }

    /// Refines the hint of a command that finds the worker idle, with `nr_inflight` commands in
    /// flight, and records the submitter. Called by the submitter, in any context.
    pub(super) fn refine(&mut self, hint: Hint, nr_inflight: u32) -> Hint {
        if !hint.may_be_sync_qd1 {
            return hint;
        }
        let submitter = Some(TaskStamp::current());
        let has_slept = self.last_submitter != submitter;
        self.last_submitter = submitter;
        Hint {
            may_be_sync_qd1: has_slept && self.nr_cmds <= 1 && nr_inflight == 0,
        }
    }

    /// Notes that the worker has started.
    pub(super) fn note_start(&mut self) {
        self.nr_cmds = 0;
    }

    /// Notes that the worker has found `nr` commands.
    pub(super) fn note_batch(&mut self, nr: u32) {
        self.nr_cmds = self.nr_cmds.saturating_add(nr);
    }
}

/// Returns whether a worker that has found `nr_waiting` commands must be requeued on the unbound
/// workqueue.
pub(super) fn should_leave_cpu(from: Workqueue, nr_waiting: u32) -> bool {
    from == Workqueue::PerCpu && nr_waiting > 1
}

/// The workqueues and the state of the placement of one hardware queue.
pub(super) struct Placement<S: PlacementOwner> {
    /// `None` after [`Self::shutdown`]. Workers do not own the workqueues: the last worker
    /// would wait for itself.
    queues: Option<Queues>,
    watchdog: Option<Pin<KBox<Timer<Watchdog<S>>>>>,
    /// The worker that was queued per-CPU and has not started: one at a time.
    watched: Option<Arc<S::Worker>>,
    /// When it was queued.
    watch_start: Jiffies,
    /// Whether it was queued unbound, too.
    is_requeued: bool,
    percpu_disabled_until: Option<Jiffies>,
    /// The number of times that a worker was queued per-CPU.
    pub(super) percpu: u64,
    /// The number of those that started late and on the unbound workqueue.
    pub(super) percpu_late: u64,
}

/// The workqueues on which workers of one hardware queue run.
struct Queues {
    percpu: Arc<OwnedQueue>,
    /// The workqueue for the level of the device in a stack, while it has a backing file.
    unbound: Option<Arc<OwnedQueue>>,
    /// The workqueue for swap-out of all devices. Its rescuer serves nothing else.
    swap: Arc<OwnedQueue>,
}

impl<S: PlacementOwner> Placement<S> {
    /// Creates a placement. Workers will run on `percpu` and `swap`, which all devices share, and
    /// on the workqueue of the backing file. It needs [a watchdog](Self::start_watchdog) before the first command.
    pub(super) fn new(percpu: Arc<OwnedQueue>, swap: Arc<OwnedQueue>) -> Self {
        Self {
            queues: Some(Queues {
                percpu,
                unbound: None,
                swap,
            }),
            watchdog: None,
            watched: None,
            watch_start: 0,
            is_requeued: false,
            percpu_disabled_until: None,
            percpu: 0,
            percpu_late: 0,
        }
    }

    /// Creates the watchdog timer. The set refers to itself from here on. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn start_watchdog(set: &Arc<S>) -> Result {
        let watchdog = Timer::new(Watchdog::new(set.clone()));
        let watchdog = KBox::pin_init(watchdog, GFP_KERNEL)?;
        set.with_placement(|this| this.watchdog = Some(watchdog));
        Ok(())
    }

    /// Ends the watch, and queues no more workers. No request is queued any more. Sleeps.
    pub(super) fn shutdown(set: &S) {
        let taken = set.with_placement(|this| (this.watchdog.take(), this.queues.take()));
        // Waits for the timer, which takes the lock.
        drop(taken);
        let watched = set.with_placement(|this| this.watched.take());
        drop(watched);
    }

    /// Replaces the unbound workqueue. Returns the previous one, to be dropped without the lock.
    /// Any context.
    pub(super) fn set_queue(&mut self, queue: Option<Arc<OwnedQueue>>) -> Option<Arc<OwnedQueue>> {
        match &mut self.queues {
            Some(queues) => core::mem::replace(&mut queues.unbound, queue),
            None => queue,
        }
    }

    /// Queues the work of a worker that is not executing. Any context.
    pub(super) fn schedule(&mut self, worker: Arc<S::Worker>, hint: Hint) {
        if hint.may_be_sync_qd1 && self.allows_percpu() && task::may_run_beside_current() {
            if let (Some(queues), Some(watchdog)) = (&self.queues, &self.watchdog) {
                let queued = queues.percpu.enqueue::<_, PERCPU>(worker.clone());
                // Otherwise the work item is there from before, and watched no longer.
                if queued.is_ok() {
                    self.watched = Some(worker);
                    self.watch_start = timer::jiffies();
                    self.is_requeued = false;
                    self.percpu += 1;
                    watchdog.reduce(self.deadline());
                    return;
                }
            }
        }
        self.schedule_unbound(worker);
    }

    /// Queues the work of a worker on the unbound workqueue. Any context.
    ///
    /// Without a backing file there is no command, so the worker has nothing to do.
    pub(super) fn schedule_unbound(&self, worker: Arc<S::Worker>) {
        let Some(queues) = &self.queues else {
            return;
        };
        let queue = if worker.is_swap() {
            Some(&queues.swap)
        } else {
            queues.unbound.as_ref()
        };
        if let Some(queue) = queue {
            // The reference comes back if the work item is queued already.
            let _ = queue.enqueue::<_, UNBOUND>(worker);
        }
    }

    /// Ends the watch over a worker that has started from `from`.
    pub(super) fn started(&mut self, worker: &Arc<S::Worker>, from: Workqueue) {
        if !self
            .watched
            .as_ref()
            .is_some_and(|watched| Arc::ptr_eq(watched, worker))
        {
            return;
        }
        // Not the last reference: the caller has one.
        self.watched = None;
        self.percpu_late += u64::from(self.is_requeued && from == Workqueue::Unbound);
        let now = timer::jiffies();
        let delay = now.wrapping_sub(self.watch_start);
        if delay > timer::msecs_to_jiffies(LATE_MSECS) {
            let backoff = delay.saturating_mul(BACKOFF_FACTOR);
            self.percpu_disabled_until = Some(now.wrapping_add(backoff));
        }
    }

    fn allows_percpu(&mut self) -> bool {
        if let Some(until) = self.percpu_disabled_until {
            if !timer::is_past(until) {
                return false;
            }
            self.percpu_disabled_until = None;
        }
        self.watched.is_none()
    }

    /// Returns when the watchdog queues the watched worker unbound.
    fn deadline(&self) -> Jiffies {
        self.watch_start
            .wrapping_add(timer::msecs_to_jiffies(WATCHDOG_MSECS))
    }

    /// Queues the watched worker unbound if it is time. Returns when to look again.
    fn watchdog_expired(&mut self) -> Option<Jiffies> {
        let worker = self.watched.as_ref().filter(|_| !self.is_requeued)?;
        let deadline = self.deadline();
        if !timer::is_past(deadline) {
            return Some(deadline);
        }
        self.schedule_unbound(worker.clone());
        self.is_requeued = true;
        None
    }
}

/// The watchdog timer of a set.
#[pin_data]
struct Watchdog<S: PlacementOwner> {
    set: Arc<S>,
}

impl<S: PlacementOwner> Watchdog<S> {
    fn new(set: Arc<S>) -> impl PinInit<Self> {
        pin_init!(Self { set })
    }
}

impl<S: PlacementOwner> TimerCallback for Watchdog<S> {
    // It must expire even if no CPU has anything to do.
    const DEFERRABLE: bool = false;

    fn expired(this: &Timer<Self>) {
        if let Some(next) = this
            .set
            .with_placement(|placement| placement.watchdog_expired())
        {
            this.reduce(next);
        }
    }
}
