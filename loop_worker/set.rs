// SPDX-License-Identifier: GPL-2.0

//! The data structures of workers, and the lock that protects them.
//!
//! # The work lock
//!
//! The *work lock* ([`WorkerSet::inner`]) of a hardware queue protects its tree, the queue and
//! state of each worker, and the backing file for new commands. Two work locks are never held
//! together. It is taken in any context, with interrupts disabled. Only the locks of workqueues and
//! timers nest inside it: memory is allocated and freed without it.
//!
//! # States of a worker
//!
//! ```text
//!           command queued              work item starts
//!   Idle ------------------> Scheduled -----------------> Executing
//!   |  ^                         ^                         |     |
//!   |  |                         +--- goes to another -----+     |
//!   |  |                              workqueue                  |
//!   |  +------------------ no command left ----------------------+
//!   v
//!  Freed   by the timer, by detach, or as its cgroup has been removed
//! ```
//!
//! A worker that is *Scheduled* or *Executing* sees every command that is queued to it. It may be
//! on two workqueues. A work item that finds the worker *Scheduled* executes, any other returns.
//! Only an *Idle* worker without direct I/O in flight is freed. Being found in the tree and becoming
//! *Scheduled*, and becoming *Freed* and leaving the tree, each happen in one hold of the lock.
//!
//! A worker and its set refer to each other. The tree's reference goes when the worker is freed,
//! at the latest when [`Workers`](super::Workers) is dropped.

use super::{
    placement::{
        Placement,
        PlacementOwner,
        PlacementWorker,
        Predictor,
        PERCPU,
        UNBOUND, //
    },
    tree::WorkerTree,
    yielding::YieldPolicy, //
};
use crate::{
    abstractions::{
        block::mq::RequestList,
        cgroup::BlkcgCss,
        sync::{
            new_spinlock_irq,
            SpinLockIrq, //
        },
        timer::{
            self,
            Jiffies,
            Timer, //
        },
    },
    backing_file::QueueBacking,
    loop_cmd::{
        group::CmdGroup,
        stats::StatsSnapshot,
        LoopQueue, //
    },
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        LockedBy, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work, //
    },
};

/// The data that the workers of one hardware queue share.
#[pin_data]
pub(crate) struct WorkerSet {
    #[pin]
    pub(super) inner: SpinLockIrq<Inner>,
}

/// Protected by the work lock.
pub(super) struct Inner {
    /// The backing file for new commands; `None` if the device is not bound.
    pub(super) backing: Option<Arc<QueueBacking>>,
    /// The workers of cgroups.
    pub(super) tree: WorkerTree<LoopWorker>,
    /// Sums of the statistics of freed workers.
    pub(super) freed_stats: StatsSnapshot,
    /// The number of commands that went to the rootcg worker because there was no memory to
    /// create a worker.
    pub(super) fallbacks: u64,
    pub(super) placement: Placement<Timer<WorkerSet>>,
}

impl WorkerSet {
    pub(super) fn new(placement: Placement<Timer<Self>>) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_spinlock_irq!(
                Inner {
                    backing: None,
                    tree: WorkerTree::new(),
                    freed_stats: StatsSnapshot::default(),
                    fallbacks: 0,
                    placement,
                },
                "rust_loop_work_lock"
            ),
        })
    }
}

impl PlacementOwner for Timer<WorkerSet> {
    type Worker = LoopWorker;

    fn with_placement<R>(&self, f: impl FnOnce(&mut Placement<Self>) -> R) -> R {
        self.inner.with(|inner| f(&mut inner.placement))
    }
}

/// The commands that a worker executes.
pub(super) enum WorkerKind {
    /// Commands of the root cgroup, and commands without a cgroup.
    RootCg,
    /// Swap-out, of any cgroup.
    Swap,
    /// Commands of a cgroup.
    Cgroup(ARef<BlkcgCss>),
}

/// The state of a worker, see the head of this file.
#[derive(Clone, Copy)]
pub(super) enum WorkerState {
    /// The queue is empty. At most a late work item is still on a workqueue.
    Idle {
        /// When the worker became idle.
        since: Jiffies,
    },
    /// A work item is on a workqueue and has not started.
    Scheduled,
    /// A work item runs.
    Executing,
    /// The worker has left the tree.
    Freed,
}

/// A worker.
#[pin_data]
pub(super) struct LoopWorker {
    #[pin]
    unbound_work: Work<Self, UNBOUND>,
    #[pin]
    percpu_work: Work<Self, PERCPU>,
    pub(super) set: Arc<Timer<WorkerSet>>,
    pub(super) kind: WorkerKind,
    pub(super) yielding: YieldPolicy,
    /// State that the commands of the worker share. Commands whose direct I/O is in flight
    /// change it while the worker is idle.
    pub(super) group: Arc<CmdGroup>,
    /// Protected by the work lock.
    pub(super) queue: LockedBy<CmdQueue, Inner>,
}

impl_has_work! {
    impl HasWork<Self, UNBOUND> for LoopWorker { self.unbound_work }
    impl HasWork<Self, PERCPU> for LoopWorker { self.percpu_work }
}

/// The commands of a worker, and its state.
pub(super) struct CmdQueue {
    pub(super) waiting: RequestList<LoopQueue>,
    /// The number of commands that the worker had in hand when it last dequeued.
    pub(super) nr_running: u32,
    pub(super) state: WorkerState,
    pub(super) predictor: Predictor,
}

impl LoopWorker {
    /// Creates an idle worker.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        set: &Arc<Timer<WorkerSet>>,
        kind: WorkerKind,
        flags: Flags,
    ) -> Result<Arc<Self>> {
        let group = Arc::new(CmdGroup::new(), flags)?;
        let queue = set.inner.locked_by(CmdQueue {
            waiting: RequestList::new(),
            nr_running: 0,
            state: WorkerState::Idle {
                since: timer::jiffies(),
            },
            predictor: Predictor::new(),
        });
        Arc::pin_init(
            pin_init!(Self {
                unbound_work <- new_work!("LoopWorker::unbound_work"),
                percpu_work <- new_work!("LoopWorker::percpu_work"),
                set: set.clone(),
                kind,
                yielding: YieldPolicy::new(),
                group,
                queue,
            }),
            flags,
        )
    }

    /// Returns the css of a worker that is in the tree.
    pub(super) fn css(&self) -> Option<&ARef<BlkcgCss>> {
        match &self.kind {
            WorkerKind::Cgroup(css) => Some(css),
            WorkerKind::RootCg | WorkerKind::Swap => None,
        }
    }

    /// Returns since when the worker has been idle, `None` if it is not.
    pub(super) fn idle_since(&self, inner: &Inner) -> Option<Jiffies> {
        match self.queue.access(inner).state {
            WorkerState::Idle { since } => Some(since),
            _ => None,
        }
    }

    /// Returns whether the worker of the tree has commands, or direct I/O in flight.
    pub(super) fn is_in_use(&self, inner: &Inner) -> bool {
        self.idle_since(inner).is_none() || self.group.stats.inflight() > 0
    }
}

impl PlacementWorker for LoopWorker {
    fn is_swap(&self) -> bool {
        matches!(self.kind, WorkerKind::Swap)
    }
}
