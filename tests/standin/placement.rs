// SPDX-License-Identifier: GPL-2.0

//! A stand-in for `loop_worker/placement.rs`: every worker runs on the unbound workqueue.

use crate::abstractions::{
    block::mq::RequestRef,
    workqueue::OwnedQueue, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::{
        HasWork,
        WorkItem, //
    },
};

pub(super) const UNBOUND: u64 = 0;
pub(super) const PERCPU: u64 = 1;

#[derive(Clone, Copy)]
pub(super) enum Workqueue {
    Unbound,
    PerCpu,
}

pub(super) trait PlacementWorker:
    WorkItem<UNBOUND, Pointer = Arc<Self>> + HasWork<Self, UNBOUND> + Send + Sync + Sized + 'static
{
    fn is_swap(&self) -> bool;
}

pub(super) trait PlacementOwner: Sized {
    type Worker: PlacementWorker;

    fn with_placement<R>(&self, f: impl FnOnce(&mut Placement<Self>) -> R) -> R;
}

#[derive(Clone, Copy)]
pub(super) struct Hint;

impl Hint {
    pub(super) fn new(_rq: &RequestRef, _is_last: bool) -> Self {
        Self
    }
}

pub(super) struct Predictor;

impl Predictor {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn refine(&mut self, hint: Hint, _nr_inflight: u32) -> Hint {
        hint
    }

    pub(super) fn note_start(&mut self) {}

    pub(super) fn note_batch(&mut self, _nr: u32) {}
}

pub(super) fn should_leave_cpu(_from: Workqueue, _nr_waiting: u32) -> bool {
    false
}

pub(super) struct Placement<S> {
    unbound: Option<Arc<OwnedQueue>>,
    swap: Option<Arc<OwnedQueue>>,
    pub(super) percpu: u64,
    pub(super) percpu_late: u64,
    _owner: core::marker::PhantomData<fn() -> S>,
}

impl<S: PlacementOwner> Placement<S> {
    pub(super) fn new(_percpu: Arc<OwnedQueue>, swap: Arc<OwnedQueue>) -> Self {
        Self {
            unbound: None,
            swap: Some(swap),
            percpu: 0,
            percpu_late: 0,
            _owner: core::marker::PhantomData,
        }
    }

    pub(super) fn start_watchdog(_set: &Arc<S>) -> Result {
        Ok(())
    }

    pub(super) fn shutdown(set: &S) {
        let taken = set.with_placement(|this| (this.swap.take(), this.unbound.take()));
        drop(taken);
    }

    pub(super) fn set_queue(&mut self, queue: Option<Arc<OwnedQueue>>) -> Option<Arc<OwnedQueue>> {
        core::mem::replace(&mut self.unbound, queue)
    }

    pub(super) fn schedule(&mut self, worker: Arc<S::Worker>, _hint: Hint) {
        self.schedule_unbound(worker);
    }

    pub(super) fn schedule_unbound(&self, worker: Arc<S::Worker>) {
        let queue = if worker.is_swap() {
            &self.swap
        } else {
            &self.unbound
        };
        if let Some(queue) = queue {
            let _ = queue.enqueue::<_, UNBOUND>(worker);
        }
    }

    pub(super) fn started(&mut self, _worker: &Arc<S::Worker>, _from: Workqueue) {}
}
