// SPDX-License-Identifier: GPL-2.0

//! Workers: who executes a command, and when.
//!
//! Every cgroup (blkcg css) that issues I/O to a device has a worker of its own
//! there, so that one that is throttled does not hold up another. A worker is
//! found by its css in a red-black tree; it is made when the first command of a
//! css comes, and freed when it has been idle for `idle_timeout_secs` or its
//! cgroup has been removed. Every command is executed as one of its cgroup: what
//! I/O and memory it takes is charged there. Commands of the root cgroup, of none, and
//! of those for which there is no memory to make a worker go to the rootcg queue, which
//! always exists. So does the swap queue, for what makes memory free, charged to nobody:
//! that must not wait for a command that waits for memory, nor for a cgroup's limits.
//!
//! # Locks
//!
//! The *work lock* ([`WorkerSet::inner`]) of a device protects its tree, all of
//! its queues, and which backing file new commands are for. It is taken in any
//! context, with interrupts disabled, and is innermost but for the locks of the
//! workqueue and the timer.
//!
//! # Life of a worker
//!
//! - *busy*: `scheduled` is set, its [`LoopWorker`] is queued or running on a
//!   workqueue (see [`executors`]) and will see every command that is queued to it. It
//!   can be queued on two, but only one executes commands, with `executing` set;
//! - *idle*: `scheduled` is clear and its queue is empty. Only an idle worker for
//!   which the backing file has nothing pending is freed, and being found idle and
//!   leaving the tree happens under the work lock, as does being found in the tree
//!   and becoming busy.
//!
//! A [`LoopWorker`] and the set refer to each other. The tree's half of that is
//! let go when a worker is freed, at the latest when [`Workers`] is dropped.

#![forbid(unsafe_code)]

mod execution;
mod executors;
pub(crate) mod levels;
pub(crate) mod report;
mod tree;

use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Request,
            RequestList, //
        },
        cgroup::{
            BlkcgCss,
            Charge,
            CssKey, //
        },
        sync::{
            new_spinlock_irq,
            SpinLockIrq, //
        },
        task::Awake,
        time::{
            LastNanos,
            Nanos, //
        },
        timer::{
            self,
            Jiffies,
            Jiffies64,
            Timer,
            TimerCallback, //
        },
        workqueue::OwnedQueue,
    },
    idle_timeout_secs,
    loop_cmd::{
        stats::Stats,
        Queued, //
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use executors::{
    Dispatch,
    Executors,
    ANYWHERE,
    NEARBY, //
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work, //
    },
};
use tree::{
    Freed,
    WorkerTree, //
};

/// The workers of one device.
pub(crate) struct Workers {
    executors: Pin<KBox<Timer<Executors>>>,
    root: Arc<LoopWorker>,
    swap: Arc<LoopWorker>,
    set: Arc<Timer<WorkerSet>>,
}

impl Workers {
    /// Makes a set of workers that has only the rootcg queue. `nearby` is the workqueue for
    /// lone commands and `swap` that for swap, of all devices. There is no other one until the
    /// device has a backing file. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(nearby: Arc<OwnedQueue>, swap: Arc<OwnedQueue>) -> Result<Self> {
        let dispatch = Dispatch::new(swap);
        let set = Arc::pin_init(Timer::new(WorkerSet::new(dispatch)), GFP_KERNEL)?;
        let executors = Executors::new(nearby, set.clone());
        let worker = |whose| {
            let stats = Arc::new(Stats::new(), GFP_KERNEL)?;
            Arc::pin_init(LoopWorker::new(set.clone(), whose, stats), GFP_KERNEL)
        };
        Ok(Self {
            executors: KBox::pin_init(Timer::new(executors), GFP_KERNEL)?,
            root: worker(Whose::Root)?,
            swap: worker(Whose::Swap)?,
            set,
        })
    }

    /// Hands a request to the worker of the cgroup that issued it; fails it if
    /// the device has no backing file. `is_last` says whether no other follows at once.
    /// Any context, does not sleep.
    pub(crate) fn queue(&self, rq: Request<LoopDevice>, is_last: bool) {
        // What makes memory free does not go where a thread may have to wait for some.
        let is_awaited = is_last && !rq.is_swap() && rq.is_awaited();
        let charge = rq.blkcg().map(Charge::to);
        let came = rq.start_time().unwrap_or_else(Nanos::now);
        let refused = self.set.inner.with(|inner| {
            let Inner {
                backing,
                root,
                swap,
                tree,
                fallbacks,
                dispatch,
                ..
            } = inner;
            let Some(backing) = backing.clone() else {
                return Some(rq);
            };
            let (cmds, work, charge) = match &charge {
                // Charged to nobody: the block layer would make this thread wait for the
                // limits of one cgroup, and all the others, who want memory, with it.
                _ if rq.is_swap() => (swap, &self.swap, None),
                Some(to) => match self.get_or_create(tree, to.blkcg()) {
                    Some(worker) => (&mut worker.cmds, &worker.work, charge),
                    None => {
                        *fallbacks += 1;
                        (root, &self.root, None)
                    }
                },
                None => (root, &self.root, None),
            };
            let queued = Queued {
                backing,
                charge,
                came,
                taken: came,
            };
            cmds.waiting.push_back(rq, queued);
            if !cmds.scheduled {
                cmds.scheduled = true;
                let is_lone = is_awaited && cmds.is_waited_for() && work.stats.pending() == 0;
                Executors::run(&self.executors, dispatch, work, is_lone);
            }
            None
        });
        if let Some(rq) = refused {
            rq.end(BlkStatus::IOERR);
        }
    }

    /// Returns the worker of `css`, or `None` if there is no memory to create one.
    /// Called under the work lock, so it cannot wait for memory.
    fn get_or_create<'a>(
        &self,
        tree: &'a mut WorkerTree,
        css: &BlkcgCss,
    ) -> Option<&'a mut CssWorker> {
        tree.get_or_create(css, || {
            let stats = Arc::new(Stats::new(), GFP_NOWAIT)?;
            let work = LoopWorker::new(self.set.clone(), Whose::Css(css.get()), stats);
            Arc::pin_init(work, GFP_NOWAIT)
        })
    }

    /// Says for which backing file new requests are, and lets workers run on its workqueue.
    /// Returns the one before, which commands that are under way may still hold. Any context.
    pub(crate) fn set_backing(&self, backing: Arc<Backing>) -> Option<Arc<Backing>> {
        let queue = backing.queue().clone();
        let (old, old_queue) = self.set.inner.with(|inner| {
            let old_queue = inner.dispatch.set_queue(Some(queue));
            (inner.backing.replace(backing), old_queue)
        });
        drop(old_queue);
        old
    }

    /// Returns the backing file that new requests are for. Any context.
    pub(crate) fn backing(&self) -> Option<Arc<Backing>> {
        self.set.inner.with(|inner| inner.backing.clone())
    }

    /// Fails new requests, and lets the workers go: at once those that are idle,
    /// the others as they become so. A device without a backing file holds no
    /// cgroups. Returns what [`Self::set_backing`] does. Any context.
    ///
    /// This does not wait for workers, as it is called with `open_mutex` held:
    /// what they do in a backing filesystem can depend on that.
    pub(crate) fn clear_backing(&self) -> Option<Arc<Backing>> {
        let (backing, old_queue) = self.set.inner.with(|inner| {
            let old_queue = inner.dispatch.set_queue(None);
            (inner.backing.take(), old_queue)
        });
        drop(old_queue);
        let mut from = Some(CssKey::FIRST);
        while let Some(key) = from {
            let mut freed = Freed::new();
            from = self
                .set
                .inner
                .with(|inner| inner.tree.remove_batch(key, &mut freed));
        }
        backing
    }

    /// Returns what the `workers` file in debugfs prints.
    pub(crate) fn report(&self) -> Result<Arc<report::Report>> {
        Ok(Arc::new(
            report::Report::new(self.set.clone(), [&self.root, &self.swap]),
            GFP_KERNEL,
        )?)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // No request is queued any more. A worker that is about to return, or on its way to
        // run, has nothing to do or finds that it has been freed. It keeps the set until it
        // has returned. The timer must not hold a worker, and thereby the set that the timer
        // is in.
        Executors::finish(&self.executors);
        self.set.shutdown();
        // Workers refer to the set they are in, so they do not go by themselves.
        let tree = self.set.inner.with(|inner| inner.tree.take());
        drop(tree);
    }
}

/// What the workers of one device share.
#[pin_data]
pub(crate) struct WorkerSet {
    #[pin]
    inner: SpinLockIrq<Inner>,
}

/// What the work lock protects.
struct Inner {
    /// For whom new commands are; `None` if the device is not bound.
    backing: Option<Arc<Backing>>,
    /// The rootcg queue.
    root: CmdQueue,
    /// The swap queue.
    swap: CmdQueue,
    /// The workers of other cgroups.
    tree: WorkerTree,
    /// How many commands went to the rootcg queue because there was no memory
    /// to make a worker.
    fallbacks: u64,
    /// Where workers run.
    dispatch: Dispatch,
}

impl Inner {
    /// Returns the queue of a worker, unless that has been freed.
    fn queue_of(&mut self, worker: &LoopWorker) -> Option<&mut CmdQueue> {
        match &worker.whose {
            Whose::Root => Some(&mut self.root),
            Whose::Swap => Some(&mut self.swap),
            Whose::Css(css) => {
                let found = self.tree.get_mut(css)?;
                core::ptr::eq(&*found.work, worker).then_some(&mut found.cmds)
            }
        }
    }
}

/// A worker, as the tree holds it. Its css is held by `work`, which is what
/// keeps the tree's key unique.
struct CssWorker {
    cmds: CmdQueue,
    work: Arc<LoopWorker>,
    /// By which time it is listed, see [`tree`].
    listed: Jiffies64,
}

impl CssWorker {
    /// Returns whether it has something to do, or the backing file has for it.
    fn is_in_use(&self) -> bool {
        self.cmds.scheduled || self.work.stats.pending() > 0
    }
}

/// The commands that wait for one worker.
struct CmdQueue {
    waiting: RequestList<LoopDevice>,
    /// How many of its commands the worker has taken.
    running: u32,
    /// Whether the worker is busy; see the head of this file.
    scheduled: bool,
    /// Whether the worker executes commands: wherever else it runs it must not.
    executing: bool,
    /// Whether there was only one command when it was last busy.
    was_lone: bool,
    /// Who issued the last command that found the worker idle.
    issuer: Option<Awake>,
    /// When the worker became idle; means nothing while it is busy.
    idle_since: Jiffies,
}

impl CmdQueue {
    fn new() -> Self {
        Self {
            waiting: RequestList::new(),
            running: 0,
            scheduled: false,
            executing: false,
            was_lone: true,
            issuer: None,
            idle_since: 0,
        }
    }

    /// Returns whether, as far as one can tell, the one who issues a command to the idle
    /// worker will wait for it: as was done with the one before.
    fn is_waited_for(&mut self) -> bool {
        let issuer = Some(Awake::current());
        let was_waited_for = self.was_lone && self.issuer != issuer;
        self.issuer = issuer;
        was_waited_for
    }

    /// Takes all commands that wait for the worker, of which it has `unfinished` from
    /// before.
    fn take(&mut self, unfinished: u32) -> RequestList<LoopDevice> {
        let waiting = self.waiting.take();
        self.running = waiting.len() + unfinished;
        waiting
    }
}

impl WorkerSet {
    fn new(dispatch: Dispatch) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_spinlock_irq!(
                Inner {
                    backing: None,
                    root: CmdQueue::new(),
                    swap: CmdQueue::new(),
                    tree: WorkerTree::new(),
                    fallbacks: 0,
                    dispatch,
                },
                "rust_loop_work_lock"
            ),
        })
    }

    /// Takes all commands that wait for a worker which begins to run. `None` if it executes
    /// commands elsewhere, or has done so, or is to do so, or has been freed: then it must
    /// return.
    fn first_cmds(
        this: &Timer<Self>,
        worker: &Arc<LoopWorker>,
        is_nearby: bool,
    ) -> Option<RequestList<LoopDevice>> {
        this.inner.with(|inner| {
            inner.dispatch.begun(worker, is_nearby);
            let cmds = inner.queue_of(worker)?;
            if cmds.executing || !cmds.scheduled {
                return None;
            }
            if is_nearby && cmds.waiting.len() > 1 {
                cmds.was_lone = false;
                inner.dispatch.run_anywhere(worker);
                return None;
            }
            cmds.executing = true;
            cmds.was_lone = cmds.waiting.len() == 1;
            Some(cmds.take(0))
        })
    }

    /// Takes all commands that have come for a worker since, of which it has `unfinished`
    /// from before. If there is none at all the worker is idle from now on, and must return
    /// without looking again; as one must that runs nearby if there are several.
    ///
    /// To take all at once is to take the lock, and to look for the css, only once for
    /// them.
    fn next_cmds(
        this: &Timer<Self>,
        worker: &Arc<LoopWorker>,
        is_nearby: bool,
        unfinished: u32,
    ) -> Option<RequestList<LoopDevice>> {
        // What leaves the tree is dropped outside the lock.
        let mut freed = Freed::new();
        this.inner.with(|inner| {
            let detached = inner.backing.is_none();
            let cmds = inner.queue_of(worker)?;
            if is_nearby && unfinished == 0 && cmds.waiting.len() > 1 {
                cmds.executing = false;
                cmds.running = 0;
                inner.dispatch.run_anywhere(worker);
                return None;
            }
            cmds.was_lone &= cmds.waiting.is_empty();
            let waiting = cmds.take(unfinished);
            if cmds.running > 0 {
                return Some(waiting);
            }
            cmds.scheduled = false;
            cmds.executing = false;
            let now = timer::jiffies();
            cmds.idle_since = now;
            if let Whose::Css(css) = &worker.whose {
                if detached || css.is_dying() {
                    inner.tree.remove_unused(css, &mut freed);
                }
                if !inner.tree.is_empty() {
                    this.reduce(now.wrapping_add(first_look()));
                }
            }
            None
        })
    }
}

/// Returns when the timer looks for the first time after a worker became idle.
fn first_look() -> Jiffies {
    idle_timeout().min(timer::secs_to_jiffies(FIRST_LOOK_SECS))
}

/// How soon the timer looks after a worker became idle, in seconds: its cgroup may have been
/// removed.
const FIRST_LOOK_SECS: u32 = 2;

fn idle_timeout() -> Jiffies {
    timer::secs_to_jiffies(idle_timeout_secs.get().unsigned_abs())
}

impl TimerCallback for WorkerSet {
    // What it does can wait.
    const DEFERRABLE: bool = true;

    /// Frees workers that have been idle for long enough or whose cgroup has been removed.
    fn expired(this: &Timer<Self>) {
        // What leaves the tree is dropped outside the lock.
        let mut freed = Freed::new();
        this.inner.with(|inner| {
            if let Some(again) = inner.tree.reap(idle_timeout(), &mut freed) {
                let delay = again.saturating_sub(timer::jiffies64());
                // What is longer than a `Jiffies` is looked at too early.
                this.reduce_to(delay.try_into().unwrap_or(Jiffies::MAX / 2));
            }
        });
    }
}

/// Whose commands a worker executes.
enum Whose {
    /// Those of the root cgroup, and of none.
    Root,
    /// Those for swap, of whatever cgroup.
    Swap,
    /// Those of a cgroup.
    Css(ARef<BlkcgCss>),
}

impl Whose {
    /// Returns the cgroup of a worker that is in the tree.
    fn css(&self) -> Option<&ARef<BlkcgCss>> {
        match self {
            Self::Css(css) => Some(css),
            Self::Root | Self::Swap => None,
        }
    }
}

/// The work items of a worker: where it runs is where one of them is.
#[pin_data]
pub(crate) struct LoopWorker {
    #[pin]
    anywhere: Work<Self, ANYWHERE>,
    #[pin]
    nearby: Work<Self, NEARBY>,
    set: Arc<Timer<WorkerSet>>,
    whose: Whose,
    /// Until when it does not [rest](Self::may_rest).
    restless_until: LastNanos,
    /// What it has done. What the backing file does for it ends without it.
    stats: Arc<Stats>,
}

impl_has_work! {
    impl HasWork<Self, ANYWHERE> for LoopWorker { self.anywhere }
    impl HasWork<Self, NEARBY> for LoopWorker { self.nearby }
}

impl LoopWorker {
    fn new(set: Arc<Timer<WorkerSet>>, whose: Whose, stats: Arc<Stats>) -> impl PinInit<Self> {
        pin_init!(Self {
            anywhere <- new_work!("LoopWorker::anywhere"),
            nearby <- new_work!("LoopWorker::nearby"),
            set,
            whose,
            restless_until: LastNanos::default(),
            stats,
        })
    }

    /// Returns whether the cgroup has been removed, so that no more commands will
    /// come.
    fn is_dying(&self) -> bool {
        self.whose.css().is_some_and(|css| css.is_dying())
    }
}
