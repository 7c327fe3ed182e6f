// SPDX-License-Identifier: GPL-2.0

//! Commands that are being executed: by a worker, or by the backing file.
//!
//! A worker does most things itself, one after the other. A transfer past the page
//! cache it only starts. The file ends that, maybe from an interrupt; what cannot be
//! ended there goes on in a thread.

use super::{
    retry::{
        self,
        Retries, //
    },
    stats::Stats,
    sync_io,
    Queued, //
};
use crate::{
    abstractions::{
        block::{
            mq::{
                BlkStatus,
                Op,
                Request,
                SECTOR_SIZE, //
            },
            transfer::{
                SegmentArrays,
                Transfer,
                Within, //
            },
        },
        cgroup::Charge,
        fs::{
            kiocb::Access,
            BackingFile, //
        },
        task,
        time::Nanos,
        workqueue::OwnedQueue, //
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What goes with a request while it is being executed.
pub(crate) struct Running {
    queued: Queued,
    stats: Arc<Stats>,
    /// What is asked for, as it is when the request comes.
    op: Op,
    bytes: u32,
    /// How much the file has transferred, in bytes.
    transferred: u32,
    /// Whether the file was given the command.
    is_pending: bool,
    /// The value of [`retry::oom_events`] at that time.
    oom_events: usize,
    /// Whether the file has then found the cgroup out of memory.
    is_cgroup_oom: bool,
}

impl Running {
    /// Returns what goes with a request that has not been executed at all.
    pub(super) fn new(rq: &Request<LoopDevice>, queued: Queued, stats: Arc<Stats>) -> Self {
        Self {
            op: rq.op(),
            bytes: rq.bytes(),
            transferred: 0,
            is_pending: false,
            oom_events: 0,
            is_cgroup_oom: false,
            queued,
            stats,
        }
    }

    /// Returns what the request asked for when it came.
    pub(super) fn op(&self) -> Op {
        self.op
    }

    /// Returns what the request carried when it waited.
    pub(super) fn into_queued(self) -> Queued {
        self.queued
    }

    /// Returns the backing file that was the device's when the request came.
    pub(super) fn backing(&self) -> &Backing {
        &self.queued.backing
    }

    /// Returns the cgroup that the command is charged to, `None` for the root cgroup.
    pub(super) fn charge(&self) -> Option<&Charge> {
        self.queued.charge.as_ref()
    }

    /// Returns a way to try again what fails for want of memory.
    pub(super) fn retries(&self) -> Retries<'_> {
        Retries::new(&self.stats, self.file(), self.charge())
    }

    /// Returns whether to execute the command would only find the cgroup out of memory once
    /// more. Another command has just failed for that while this one waited, there is no room
    /// still, and all that this one writes takes new pages.
    pub(super) fn is_known_to_fail(&self, rq: &Request<LoopDevice>, direct: bool) -> bool {
        let pos = self.backing().file_pos(rq.pos());
        self.op == Op::Write
            && self.stats.was_cgroup_oom_after(self.queued.came)
            && self.charge().is_some_and(|charge| !charge.has_room())
            && self.file().write_takes_pages(pos, rq.bytes(), direct)
    }

    /// Starts to read or write past the page cache. Sleeps. What was given comes back
    /// if that cannot be done without waiting for it.
    pub(super) fn start(
        mut self,
        rq: Request<LoopDevice>,
    ) -> Result<(), (Request<LoopDevice>, Self)> {
        let pos = self.backing().file_pos(rq.pos());
        let access = access(&rq, true);
        if self.is_known_to_fail(&rq, true) {
            return Err((rq, self));
        }
        self.oom_events = retry::oom_events(self.charge());
        self.is_pending = true;
        self.stats.submitted();
        rq.transfer(pos, access, self).map_err(|(rq, mut this)| {
            this.is_pending = false;
            this.stats.returned();
            (rq, this)
        })
    }

    /// Accounts for the command and ends it. Any context, but not from a function that is
    /// called at the end of another device's I/O, unless the worker's own task has called
    /// that from the top of its stack, see [`Self::done`].
    pub(super) fn end(self, rq: Request<LoopDevice>, status: BlkStatus) {
        self.account(status);
        rq.end(status);
    }

    /// Accounts for the command and has it ended soon. Any context.
    fn end_later(self, rq: Request<LoopDevice>, status: BlkStatus) {
        self.account(status);
        rq.end_later(status);
    }

    /// Returns the attempt that began when the file was given the command. Any context.
    fn started(&self) -> Retries<'_> {
        Retries::since(&self.stats, self.file(), self.charge(), self.oom_events)
    }

    /// Returns whether there is page cache of what has been written past it, which may hold
    /// what was there before: it was read during the write. A block device drops that only
    /// after a synchronous write. In direct mode it does no harm, as nothing is read there
    /// unless it has been dropped.
    fn leaves_old_pages(&self, rq: &Request<LoopDevice>) -> bool {
        let backing = self.backing();
        self.op == Op::Write
            && !backing.is_direct()
            && backing
                .file()
                .is_cached(backing.file_pos(rq.pos()), self.bytes)
    }

    /// Has what the file has not done done by a thread. Any context.
    fn defer(self, rq: Request<LoopDevice>) {
        self.stats.deferred();
        rq.defer(self);
    }

    /// Accounts for the command, and lets go of all that goes with it.
    fn account(self, status: BlkStatus) {
        let Queued { came, taken, .. } = self.queued;
        let ran = Nanos::now().since(taken);
        self.stats
            .account(self.op, self.bytes, status, taken.since(came), ran);
        if self.is_pending {
            self.stats.returned();
        }
        // Once a request has ended, whoever issued it may look, and the device may
        // find itself without users of its backing file: the last reference to that
        // must not be ours, as this may be an interrupt.
        drop(self);
    }
}

/// Returns how a request reads or writes.
pub(super) fn access(rq: &Request<LoopDevice>, direct: bool) -> Access {
    Access {
        direct,
        dsync: rq.is_fua(),
        nowait: false,
        ioprio: rq.ioprio(),
    }
}

/// Returns whether the request is to be executed with the memory reserves of the kernel, and
/// prepares the file for that. It is if it writes swap: reclaim waits for it, so the worker
/// must not wait for reclaim. Sleeps.
///
/// Only for writing past the page cache, for the time of that: in the page cache each page
/// would take another one of the reserves, for an unknown time.
///
/// Without, the worker was seen to look for memory for minutes, with all that could be freed
/// waiting to be written by it (one in four runs of `tests/memory_swap.sh` on the debug
/// kernel, with swap in a file).
pub(super) fn prepare_reserve(rq: &Request<LoopDevice>, backing: &Backing, stats: &Stats) -> bool {
    let (pos, bytes) = (rq.pos(), rq.bytes());
    if !rq.is_swap() || !backing.allows_direct(pos, bytes) {
        return false;
    }
    let file = backing.file();
    let may = file.prepare_for_reserve(backing.file_pos(pos), bytes);
    if may {
        stats.used_reserve();
    }
    may
}

impl Transfer<LoopDevice> for Running {
    fn file(&self) -> &BackingFile {
        self.backing().file()
    }

    fn arrays(&self) -> &SegmentArrays {
        self.backing().arrays()
    }

    fn queue(&self) -> &OwnedQueue {
        self.backing().queue()
    }

    fn done(mut self, rq: Request<LoopDevice>, result: Result<usize>, within: Within) {
        let status = match result {
            Ok(n) => {
                self.transferred = self.bytes.min(n as u32);
                if self.transferred < self.bytes {
                    self.is_cgroup_oom = self.started().is_final(ENOMEM);
                    return self.defer(rq);
                }
                if self.leaves_old_pages(&rq) {
                    return self.defer(rq);
                }
                self.stats.succeeded();
                BlkStatus::OK
            }
            Err(err) if self.started().is_final(err) => err.into(),
            Err(err) if sync_io::may_succeed_otherwise(err) => return self.defer(rq),
            Err(err) => err.into(),
        };
        // In the worker's own task, with all that was called to submit it returned from,
        // the softirq would only be a detour, by way of yet another task.
        match within == Within::Submission || self.stats.unplugging().is_here() {
            true => self.end(rq, status),
            false => self.end_later(rq, status),
        }
    }

    /// Does what the file did not do, now waiting for it: past the page cache if that is
    /// possible, else through it, where a file may end early and nothing is aligned.
    fn resume(self, mut rq: Request<LoopDevice>) {
        let status = task::with_backing_io(|| {
            Charge::charge_to(self.charge(), || {
                if self.transferred == self.bytes {
                    let pos = self.backing().file_pos(rq.pos());
                    self.backing().file().drop_cached(pos, self.bytes.into());
                    return BlkStatus::OK;
                }
                rq.complete_partially(self.transferred - self.transferred % SECTOR_SIZE);
                if self.is_cgroup_oom {
                    return ENOMEM.into();
                }
                let access = access(&rq, true);
                sync_io::run(&mut rq, self.backing(), access, self.retries())
            })
        });
        self.end(rq, status);
    }
}
