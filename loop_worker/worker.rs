// SPDX-License-Identifier: GPL-2.0

//! Workers: the side of the worker's task. It dequeues commands in batches and issues or executes
//! them, until there are none.

use super::{
    placement::{
        self,
        Workqueue,
        PERCPU,
        UNBOUND, //
    },
    reaper,
    set::{
        Inner,
        LoopWorker,
        WorkerKind,
        WorkerState, //
    },
    tree::Freed,
};
use crate::{
    abstractions::{
        block::{
            mq::{
                Request,
                RequestList, //
            },
            plug::with_plug, //
        },
        task,
        time::KtimeNs,
        timer, //
    },
    loop_cmd::{
        self,
        LoopQueue,
        TryIssue, //
    },
};
use kernel::{
    sync::Arc,
    workqueue::WorkItem, //
};

/// The number of commands that are issued before devices get the I/O: half of a batch of the
/// block layer (`BLK_MAX_REQUEST_COUNT`), as a command can need more than one request.
const PLUG_BATCH: u32 = 16;

impl WorkItem<UNBOUND> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.run_from(Workqueue::Unbound);
    }
}

impl WorkItem<PERCPU> for LoopWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.run_from(Workqueue::PerCpu);
    }
}

impl LoopWorker {
    /// Executes commands until there are none, or until the worker has to continue on another
    /// workqueue. Process context of a kernel thread, sleeps.
    fn run_from(self: &Arc<Self>, from: Workqueue) {
        task::with_flags(loop_cmd::worker_flags(), || {
            // Reads for which the file has started readahead, in that order.
            let mut readahead = RequestList::new();
            let mut next = self.first_batch(from);
            while let Some(mut batch) = next {
                let now = KtimeNs::now();
                let should_yield = self.should_yield(&batch, now);
                self.process_batch(&mut batch, &mut readahead, now);
                if should_yield && readahead.is_empty() {
                    task::yield_now();
                }
                next = self.next_batch(from, readahead.len());
            }
        })
    }

    /// Dequeues the first batch. `None` if the worker must return: it is executing or has executed
    /// on another workqueue, has been freed, or has been requeued.
    fn first_batch(self: &Arc<Self>, from: Workqueue) -> Option<RequestList<LoopQueue>> {
        let mut freed = Freed::new();
        self.set.inner.with(|inner| {
            inner.placement.started(self, from);
            let queue = self.queue.access_mut(inner);
            if !matches!(queue.state, WorkerState::Scheduled) {
                return None;
            }
            queue.state = WorkerState::Executing;
            queue.predictor.note_start();
            self.dequeue_batch(inner, from, 0, &mut freed)
        })
    }

    /// Dequeues another batch. `nr_unfinished` commands of earlier batches are still being read
    /// ahead. `None` if the worker must return: it is idle, or it has been requeued.
    fn next_batch(
        self: &Arc<Self>,
        from: Workqueue,
        nr_unfinished: u32,
    ) -> Option<RequestList<LoopQueue>> {
        // Workers are dropped outside the lock.
        let mut freed = Freed::new();
        self.set
            .inner
            .with(|inner| self.dequeue_batch(inner, from, nr_unfinished, &mut freed))
    }

    /// Dequeues all commands: a batch pays for the lock once.
    fn dequeue_batch(
        self: &Arc<Self>,
        inner: &mut Inner,
        from: Workqueue,
        nr_unfinished: u32,
        freed: &mut Freed<Self>,
    ) -> Option<RequestList<LoopQueue>> {
        let queue = self.queue.access_mut(inner);
        let nr_waiting = queue.waiting.len();
        queue.predictor.note_batch(nr_waiting);
        queue.nr_running = nr_waiting + nr_unfinished;
        if nr_unfinished == 0 && placement::should_leave_cpu(from, nr_waiting) {
            queue.nr_running = 0;
            queue.state = WorkerState::Scheduled;
            inner.placement.schedule_unbound(self.clone());
            return None;
        }
        if queue.nr_running > 0 {
            return Some(queue.waiting.take());
        }
        let now = timer::jiffies();
        queue.state = WorkerState::Idle { since: now };
        reaper::worker_idle(self, inner, now, freed);
        None
    }

    /// Returns whether the worker should yield the CPU after a batch that it has dequeued at
    /// `now`. Swap-out never waits for other tasks, which may wait for it.
    fn should_yield(&self, batch: &RequestList<LoopQueue>, now: KtimeNs) -> bool {
        let delay = batch.first().map_or(0, |cmd| cmd.queueing_delay(now));
        self.yielding.after_batch(batch.len(), delay, now) && !matches!(self.kind, WorkerKind::Swap)
    }

    /// Issues or executes the commands of `batch`. Finishes one command of `readahead` after each
    /// that is executed, and one at the end. `now` is when the batch was dequeued. Sleeps.
    fn process_batch(
        &self,
        batch: &mut RequestList<LoopQueue>,
        readahead: &mut RequestList<LoopQueue>,
        now: KtimeNs,
    ) {
        while let Some(rq) = loop_cmd::next_cmd(batch, now) {
            let is_last = batch.is_empty();
            let blocked = if !rq.data().can_issue(is_last && readahead.is_empty()) {
                Some(rq)
            } else if is_last {
                issue_batch(rq, batch, readahead, now)
            } else {
                // The plug collects I/O, which is submitted to the device when the plug ends.
                let nr_expected = PLUG_BATCH.min(1 + batch.len());
                with_plug(nr_expected, || issue_batch(rq, batch, readahead, now))
            };
            if let Some(rq) = blocked {
                loop_cmd::execute_blocking(rq);
                finish_readahead(readahead);
            }
            task::cond_resched();
        }
        // Finish one command per batch. Finishing all would delay new commands, and finishing
        // none would delay these commands while new ones arrive.
        finish_readahead(readahead);
    }
}

/// Executes the first command for which the file has started readahead. Sleeps.
fn finish_readahead(readahead: &mut RequestList<LoopQueue>) {
    if let Some(rq) = readahead.pop_front() {
        loop_cmd::execute_blocking(rq);
    }
}

/// Issues `first` and then commands of `batch`, at most [`PLUG_BATCH`] in all. Returns a command
/// that has to be executed. Sleeps.
fn issue_batch(
    first: Request<LoopQueue>,
    batch: &mut RequestList<LoopQueue>,
    readahead: &mut RequestList<LoopQueue>,
    now: KtimeNs,
) -> Option<Request<LoopQueue>> {
    let mut rq = first;
    let mut nr_issued = 0;
    loop {
        match loop_cmd::try_issue(rq) {
            TryIssue::Issued => (),
            TryIssue::Readahead(rq) => readahead.push_back(rq),
            TryIssue::WouldBlock(rq) => return Some(rq),
        }
        nr_issued += 1;
        if nr_issued == PLUG_BATCH {
            return None;
        }
        rq = loop_cmd::next_cmd(batch, now)?;
        let is_only_cmd = batch.is_empty() && readahead.is_empty();
        if !rq.data().can_issue(is_only_cmd) {
            return Some(rq);
        }
    }
}
