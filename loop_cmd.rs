// SPDX-License-Identifier: GPL-2.0

//! Commands: what is to be done to the backing file for one request.
//!
//! A command is made when a worker takes a request from its queue. It runs in the
//! worker's task, which may sleep, so `REQ_NOWAIT` has done its work by then and is
//! not passed on. Most end there. What is read or written past the page cache is only
//! started there, see [`running`].

#![forbid(unsafe_code)]

pub(crate) mod stats;

mod allocation;
mod retry;
mod running;
mod sync_io;

pub(crate) use self::running::Running;

use self::stats::Stats;
use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Op,
            Request,
            RequestList, //
        },
        cgroup::Charge,
        task,
        time::Nanos,
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::{
    pr_warn_once,
    prelude::*,
    sync::Arc, //
};

/// What a request carries while it waits.
pub(crate) struct Queued {
    /// The file that was the device's when it came.
    pub(crate) backing: Arc<Backing>,
    /// Who is charged for it; `None` for the root cgroup.
    pub(crate) charge: Option<Charge>,
    /// When it came: when the block layer made the request.
    pub(crate) came: Nanos,
    /// When a worker has taken it out of its queue.
    pub(crate) taken: Nanos,
}

/// How far a command has come that was [begun](LoopCmd::begin).
pub(crate) enum Begun {
    /// It has been ended, or the backing file will do that.
    Done,
    /// The backing file, mostly, reads what it has not in memory. When that is there, to
    /// [execute](LoopCmd::execute) the command takes little time.
    ///
    /// The disk below gets many reads at once that way, though one thread waits for them.
    Reading(LoopCmd),
    /// It is to be [executed](LoopCmd::execute).
    Not(LoopCmd),
}

/// A request and what it is for.
pub(crate) struct LoopCmd {
    rq: Request<LoopDevice>,
    queued: Queued,
    /// Whether what is read or written goes past the page cache.
    direct: bool,
}

impl LoopCmd {
    /// Takes the first of the requests that wait, of all of which `taken` says when that
    /// was.
    pub(crate) fn next_of(waiting: &mut RequestList<LoopDevice>, taken: Nanos) -> Option<Self> {
        let (rq, queued) = waiting.pop_front()?;
        Some(Self::new(rq, Queued { taken, ..queued }))
    }

    fn new(rq: Request<LoopDevice>, queued: Queued) -> Self {
        let direct = is_direct(&rq, &queued.backing);
        Self { rq, queued, direct }
    }

    /// Puts a command that has been begun into a list.
    pub(crate) fn wait_in(self, reading: &mut RequestList<LoopDevice>) {
        reading.push_back(self.rq, self.queued);
    }

    /// Takes the first command out of such a list.
    pub(crate) fn again(reading: &mut RequestList<LoopDevice>) -> Option<Self> {
        let (rq, queued) = reading.pop_front()?;
        Some(Self::new(rq, queued))
    }

    /// Returns whether something of the command can be done before one waits for the
    /// device below, or for somebody else. `alone` says that there is nothing else to do
    /// meanwhile, for then a read may as well wait.
    pub(crate) fn can_begin(&self, alone: bool) -> bool {
        if self.direct {
            return self.is_transfer();
        }
        !alone && self.rq.op() == Op::Read && self.queued.backing.file().has_nowait()
    }

    /// Begins a command that [can be](Self::can_begin). Process context of a kernel
    /// thread; sleeps, in the backing filesystem among others.
    pub(crate) fn begin(self, stats: &Arc<Stats>) -> Begun {
        if self.direct {
            return self.start(stats);
        }
        let is_done = Charge::charge_to(self.queued.charge.as_ref(), || {
            let access = running::access(&self.rq, false);
            sync_io::read_cached(&self.rq, &self.queued.backing, access)
        });
        match is_done {
            true => {
                let Self { rq, queued, .. } = self;
                Running::new(&rq, queued, stats.clone()).end(rq, BlkStatus::OK);
                Begun::Done
            }
            false => Begun::Reading(self),
        }
    }

    /// Does what the request asks for, accounts for it, and ends it. Process context of a
    /// kernel thread; sleeps, in the backing filesystem among others.
    pub(crate) fn execute(self, stats: &Arc<Stats>) {
        let Self {
            mut rq,
            queued,
            direct,
        } = self;
        let run = Running::new(&rq, queued, stats.clone());
        let status = Charge::charge_to(run.charge(), || status(&mut rq, &run, direct));
        run.end(rq, status);
    }

    /// Starts a transfer past the page cache, which the backing file ends. Sleeps.
    fn start(self, stats: &Arc<Stats>) -> Begun {
        let Self { rq, queued, direct } = self;
        // The transfer may have ended, with all that goes with it, before the file returns.
        let charge = queued.charge.clone();
        let started = Charge::charge_to(charge.as_ref(), || {
            let reserve = running::prepare_reserve(&rq, &queued.backing, stats);
            let run = Running::new(&rq, queued, stats.clone());
            task::with_memory_reserve_if(reserve, || run.start(rq))
        });
        match started {
            Ok(()) => Begun::Done,
            Err((rq, run)) => Begun::Not(Self {
                rq,
                queued: run.into_queued(),
                direct,
            }),
        }
    }

    /// Returns whether the command reads or writes, and may do that.
    fn is_transfer(&self) -> bool {
        match self.rq.op() {
            Op::Read => true,
            Op::Write => !self.queued.backing.is_read_only(),
            _ => false,
        }
    }
}

/// Returns whether what the request reads or writes goes past the page cache: in direct
/// mode, and in either mode if it is swap.
///
/// A page of swap that is written to the page cache takes another page before it gives back
/// its own. One that is read through it is read with neighbours, four times as much as is
/// asked for, and all that is dropped again by the next write. With one of the two past the
/// page cache the other goes there, too.
fn is_direct(rq: &Request<LoopDevice>, backing: &Backing) -> bool {
    backing.is_direct() || (rq.carries_swap() && backing.allows_direct(rq.pos(), rq.bytes()))
}

/// Does what the request asks for. Sleeps.
fn status(rq: &mut Request<LoopDevice>, run: &Running, direct: bool) -> BlkStatus {
    let (op, backing) = (run.op(), run.backing());
    if op.is_write() && backing.is_read_only() {
        return BlkStatus::IOERR;
    }
    match op {
        Op::Write if run.is_known_to_fail(rq, direct) => ENOMEM.into(),
        Op::Read | Op::Write => {
            let access = running::access(rq, direct);
            sync_io::run(rq, backing, access, run.retries())
        }
        // What was written is to be durable, and that it was written is not: with a journal
        // below, to have that durable, too, takes a commit.
        Op::Flush => match backing.file().flush() {
            Ok(()) => BlkStatus::OK,
            Err(err) => err.into(),
        },
        Op::Discard | Op::WriteZeroes { .. } => allocation::change(rq, op, run),
        Op::Unknown(op) => {
            pr_warn_once!("request with unknown operation {op}\n");
            BlkStatus::IOERR
        }
    }
}
