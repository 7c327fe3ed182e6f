// SPDX-License-Identifier: GPL-2.0

//! Workers: the submitter's side. [`worker`] is the side of the worker's task.
//!
//! Every cgroup (blkcg css) that submits I/O to a device has a worker of its own there, so that
//! a throttled cgroup does not hold up another. A red-black tree maps the css to its worker. The
//! worker is created for the first command of a css, and freed when it has been idle for
//! `idle_timeout_secs` or its cgroup has been removed ([`reaper`]). The worker executes each
//! command on behalf of the cgroup, which is charged for I/O and memory.
//!
//! Two workers always exist. The *rootcg* worker serves the root cgroup, requests without a
//! cgroup, and cgroups for which there is no memory to create a worker. The *swap* worker serves
//! swap-out, charged to no cgroup: swap-out must wait neither for a command that waits for memory
//! nor for the limits of a cgroup.
//!
//! All of this but the swap worker exists once for each hardware queue of the device
//! (`nr_hw_queues`), and the queues share nothing that a command changes. So submitters on different
//! CPUs do not wait for each other, and a cgroup has a worker for each hardware queue that it uses.
//! The swap worker belongs to the first hardware queue and serves the swap-out of all: one after
//! the other, the pages of a swapped cluster are next to each other in the file.
//!
//! The data structures and the lock are in [`set`], the choice of a workqueue is in
//! [`placement`].

#![forbid(unsafe_code)]

pub(crate) mod debugfs;
pub(crate) mod levels;
mod placement;
mod reaper;
mod set;
mod tree;
mod worker;
mod yielding;

use self::{
    placement::{
        Hint,
        Placement, //
    },
    set::{
        Inner,
        LoopWorker,
        WorkerKind,
        WorkerSet,
        WorkerState, //
    },
    tree::NewEntry,
};
use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            NewRequest,
            Operations, //
        },
        cgroup::{
            BlkcgCss,
            CssKey,
            IoCgroup, //
        },
        timer::Timer,
        workqueue::OwnedQueue, //
    },
    backing_file::{
        Backing,
        QueueBacking, //
    },
    loop_cmd::{
        LoopCmd,
        LoopQueue,
        RequestInfo, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    },
};

impl Operations for LoopQueue {
    type QueueData = Workers;
    type RequestData = LoopCmd;

    fn queue_rq(
        workers: ArcBorrow<'_, Workers>,
        queue_num: u32,
        rq: NewRequest<Self>,
        is_last: bool,
    ) {
        let queue = if rq.is_swap() {
            workers.0.first()
        } else {
            workers.0.get(queue_num as usize)
        };
        match queue {
            Some(queue) => queue.queue(rq, is_last),
            // The device has workers for all of its hardware queues.
            None => rq.end(BlkStatus::IOERR),
        }
    }
}

/// The workers of one device, for each hardware queue.
pub(crate) struct Workers(KVec<HwQueue>);

/// A backing file that a device is about to get, with what each hardware queue needs of it.
pub(crate) struct NewBacking {
    backing: Arc<Backing>,
    for_queues: KVec<Arc<QueueBacking>>,
}

impl NewBacking {
    /// Returns the backing file.
    pub(crate) fn backing(&self) -> &Arc<Backing> {
        &self.backing
    }
}

/// A request that has arrived at a hardware queue.
struct Arrival {
    rq: NewRequest<LoopQueue>,
    info: RequestInfo,
    hint: Hint,
    submitter: Option<IoCgroup>,
}

impl Arrival {
    fn new(rq: NewRequest<LoopQueue>, is_last: bool) -> Self {
        Self {
            info: RequestInfo::new(&rq),
            hint: Hint::new(&rq, is_last),
            submitter: rq.blkcg().map(IoCgroup::from_blkcg),
            rq,
        }
    }
}

/// The worker for a request.
enum Target<'a> {
    /// A worker that always exists. It charges no cgroup.
    BuiltIn(&'a Arc<LoopWorker>),
    Cgroup(Arc<LoopWorker>),
}

/// The workers of one hardware queue.
struct HwQueue {
    rootcg: Arc<LoopWorker>,
    /// Present in the first hardware queue, which gets all swap-out of the device.
    swap: Option<Arc<LoopWorker>>,
    set: Arc<Timer<WorkerSet>>,
}

impl Workers {
    /// Creates the workers for `nr_hw_queues` hardware queues, at least one. All devices share
    /// the workqueues `percpu` and `swap`; the one for other work comes with the backing file. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        nr_hw_queues: u32,
        percpu: &Arc<OwnedQueue>,
        swap: &Arc<OwnedQueue>,
    ) -> Result<Arc<Self>> {
        let mut queues = KVec::with_capacity(nr_hw_queues as usize, GFP_KERNEL)?;
        for i in 0..nr_hw_queues {
            let placement = Placement::new(percpu.clone(), swap.clone());
            queues.push(HwQueue::new(placement, i == 0)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(Self(queues), GFP_KERNEL)?)
    }

    /// Prepares a backing file for [`Self::set_backing`]. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn prepare(&self, backing: Backing) -> Result<NewBacking> {
        let backing = Arc::new(backing, GFP_KERNEL)?;
        let mut for_queues = KVec::with_capacity(self.0.len(), GFP_KERNEL)?;
        for _ in &self.0 {
            for_queues.push(QueueBacking::new(backing.clone())?, GFP_KERNEL)?;
        }
        Ok(NewBacking {
            backing,
            for_queues,
        })
    }

    /// Replaces the backing file for new requests, and lets workers run on its workqueue. Any
    /// context. Commands in flight may still hold the previous backing file. The caller holds it,
    /// too, so that the last reference is not dropped here.
    ///
    /// The caller makes sure that no request is queued meanwhile: the hardware queues get the file
    /// one after the other.
    pub(crate) fn set_backing(&self, new: NewBacking) {
        for (queue, backing) in self.0.iter().zip(new.for_queues) {
            queue.set_backing(backing);
        }
    }

    /// Returns the backing file for new requests. Any context.
    pub(crate) fn backing(&self) -> Option<Arc<Backing>> {
        self.0.first()?.backing()
    }

    /// Fails new requests, and frees the workers of cgroups: idle ones at once, the others when
    /// they become idle. A device without a backing file holds no cgroups. Any context. The caller
    /// holds the backing file, so that the last reference is not dropped here.
    ///
    /// The caller makes sure that no request is queued or waits: the workers have no workqueue
    /// afterwards.
    ///
    /// This does not wait for workers, because its caller holds `open_mutex`: a worker in the
    /// backing filesystem may depend on that.
    pub(crate) fn clear_backing(&self) {
        for queue in &self.0 {
            queue.clear_backing();
        }
    }

    /// Returns the source of the files in debugfs. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn report(&self) -> Result<Arc<debugfs::Report>> {
        let mut queues = KVec::with_capacity(self.0.len(), GFP_KERNEL)?;
        for HwQueue { rootcg, swap, set } in &self.0 {
            queues.push(
                debugfs::QueueReport::new(set.clone(), rootcg.clone(), swap.clone()),
                GFP_KERNEL,
            )?;
        }
        Ok(Arc::new(debugfs::Report::new(queues), GFP_KERNEL)?)
    }
}

impl HwQueue {
    /// Creates a set with the rootcg worker, and the swap worker if `has_swap`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new(placement: Placement<Timer<WorkerSet>>, has_swap: bool) -> Result<Self> {
        let set = Arc::pin_init(Timer::new(WorkerSet::new(placement)), GFP_KERNEL)?;
        let this = Self {
            rootcg: LoopWorker::new(&set, WorkerKind::RootCg, GFP_KERNEL)?,
            swap: if has_swap {
                Some(LoopWorker::new(&set, WorkerKind::Swap, GFP_KERNEL)?)
            } else {
                None
            },
            set,
        };
        // The set refers to itself from here on, until `this` is dropped.
        Placement::start_watchdog(&this.set)?;
        Ok(this)
    }

    /// Queues a request to the worker of its cgroup, and schedules the worker if that is idle.
    /// Creates the worker if the cgroup has none; without memory for it, the rootcg worker executes
    /// the command. Fails the request if the device has no backing file. `is_last` says that the
    /// block layer does not submit another request right after this one. Any context, does not
    /// sleep.
    fn queue(&self, rq: NewRequest<LoopQueue>, is_last: bool) {
        let arrival = Arrival::new(rq, is_last);
        let queued = self.set.inner.with(|inner| {
            let Some(backing) = inner.backing.clone() else {
                return Ok(Some(arrival.rq));
            };
            let Some(target) = self.find_worker(inner, &arrival) else {
                return Err(arrival);
            };
            self.append(inner, backing, target, arrival);
            Ok(None)
        });
        // The allocator is not called under the work lock, for which other submitters wait.
        let refused = queued.unwrap_or_else(|arrival| self.queue_first(arrival));
        if let Some(rq) = refused {
            rq.end(BlkStatus::IOERR);
        }
    }

    /// Queues the first request of a cgroup, and returns it if the device has no backing file. Any
    /// context, does not sleep.
    #[cold]
    fn queue_first(&self, arrival: Arrival) -> Option<NewRequest<LoopQueue>> {
        let css = arrival
            .submitter
            .as_ref()
            .map(|cgroup| cgroup.blkcg().get());
        let key = css.as_ref().map(|css| css.key());
        let mut new = css.and_then(|css| self.create_worker(css).ok());
        self.set.inner.with(|inner| {
            let Some(backing) = inner.backing.clone() else {
                return Some(arrival.rq);
            };
            // Another CPU may have created the worker meanwhile. Then `new` is dropped outside the
            // lock.
            let worker = key.and_then(|key| inner.tree.get_or_insert(key, &mut new));
            let target = match worker {
                Some(worker) => Target::Cgroup(worker.clone()),
                None => {
                    inner.fallbacks += 1;
                    Target::BuiltIn(&self.rootcg)
                }
            };
            self.append(inner, backing, target, arrival);
            None
        })
    }

    /// Creates the worker of a css. Any context, does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn create_worker(&self, css: ARef<BlkcgCss>) -> Result<NewEntry<LoopWorker>> {
        NewEntry::new(LoopWorker::new(
            &self.set,
            WorkerKind::Cgroup(css),
            GFP_NOWAIT,
        )?)
    }

    /// Returns the worker for a request, `None` if its css has none.
    fn find_worker(&self, inner: &Inner, arrival: &Arrival) -> Option<Target<'_>> {
        match (&self.swap, &arrival.submitter) {
            (Some(swap), _) if arrival.rq.is_swap() => Some(Target::BuiltIn(swap)),
            (_, Some(cgroup)) => Some(Target::Cgroup(
                inner.tree.get(cgroup.blkcg().key())?.clone(),
            )),
            (_, None) => Some(Target::BuiltIn(&self.rootcg)),
        }
    }

    /// Appends a request to the queue of a worker, and schedules the worker if that is idle.
    fn append(
        &self,
        inner: &mut Inner,
        backing: Arc<QueueBacking>,
        target: Target<'_>,
        arrival: Arrival,
    ) {
        let (worker, charged) = match &target {
            Target::Cgroup(worker) => (worker, arrival.submitter),
            // Swap-out is charged to no cgroup, either. Otherwise the block layer would make the
            // worker wait for the limits of one cgroup, and with it all other cgroups, which wait
            // for memory.
            Target::BuiltIn(worker) => (*worker, None),
        };
        let cmd = LoopCmd::new(arrival.info, backing, charged, worker.group.clone());
        let queue = worker.queue.access_mut(inner);
        queue.waiting.push_back(arrival.rq.init(cmd));
        if let WorkerState::Idle { .. } = queue.state {
            queue.state = WorkerState::Scheduled;
            let hint = queue
                .predictor
                .refine(arrival.hint, worker.group.stats.inflight());
            inner.placement.schedule(worker.clone(), hint);
        }
    }

    /// See [`Workers::set_backing`].
    fn set_backing(&self, backing: Arc<QueueBacking>) {
        let queue = backing.queue().clone();
        let old = self.set.inner.with(|inner| {
            let old_queue = inner.placement.set_queue(Some(queue));
            (inner.backing.replace(backing), old_queue)
        });
        drop(old);
    }

    fn backing(&self) -> Option<Arc<Backing>> {
        self.set
            .inner
            .with(|inner| Some(inner.backing.as_ref()?.backing().clone()))
    }

    /// See [`Workers::clear_backing`].
    fn clear_backing(&self) {
        let old = self.set.inner.with(|inner| {
            let old_queue = inner.placement.set_queue(None);
            (inner.backing.take(), old_queue)
        });
        drop(old);
        let mut from = Some(CssKey::FIRST);
        while let Some(key) = from {
            from = reaper::free_unused_batch(&self.set, key);
        }
    }
}

impl Drop for HwQueue {
    fn drop(&mut self) {
        // No request is queued any more. A worker that is still scheduled, or about to return,
        // finds that it has been freed or has nothing to do. It holds the set until it has
        // returned.
        //
        // Three circles of references are broken here: the watchdog timer, the watched worker and
        // the workers in the tree refer to the set, which refers to them.
        Placement::shutdown(&*self.set);
        self.set.shutdown();
        let tree = self.set.inner.with(|inner| inner.tree.take());
        drop(tree);
    }
}
