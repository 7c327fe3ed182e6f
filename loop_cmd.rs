// SPDX-License-Identifier: GPL-2.0

//! Commands: what is to be done to the backing file for one request.
//!
//! A command is made when a worker takes a request from its queue. It runs in the
//! worker's task, which may sleep, so `REQ_NOWAIT` has done its work by then and is
//! not passed on. Most end there. What is read or written past the page cache is only
//! started there, see [`running`].

pub(crate) mod stats;

mod allocation;
mod retry;
mod running;
mod transfer;

pub(crate) use self::running::Running;

use self::stats::Stats;
use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Op,
            Request, //
        },
        cgroup::Charge,
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::{
    pr_warn_once,
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    },
};

/// What a request carries while it waits.
pub(crate) struct Queued {
    /// The file that was the device's when it came.
    pub(crate) backing: Arc<Backing>,
    /// Who is charged for it; `None` for the root cgroup.
    pub(crate) charge: Option<Charge>,
    /// When it came.
    pub(crate) at: Instant<Monotonic>,
}

/// A request and what it is for.
pub(crate) struct LoopCmd {
    rq: Request<LoopDevice>,
    queued: Queued,
}

impl LoopCmd {
    /// Takes a request that has waited.
    pub(crate) fn new(rq: Request<LoopDevice>, queued: Queued) -> Self {
        Self { rq, queued }
    }

    /// Does what the request asks for, accounts for it, and ends it, or leaves that to
    /// the backing file. Process context of a kernel thread; sleeps, in the backing
    /// filesystem among others.
    pub(crate) fn execute(self, stats: Arc<Stats>) {
        let Self { mut rq, queued } = self;
        let mut run = Running::new(&rq, queued, stats);
        let _charged = run.queued().charge.clone().map(|charge| charge.enter());
        let direct = run.backing().is_direct() || is_direct_swap(&rq, &run);
        if direct && is_transfer(&run) {
            match run.start(rq) {
                Ok(()) => return,
                Err(back) => (rq, run) = back,
            }
        }
        let status = status(&mut rq, &run, direct);
        run.end(rq, status);
    }
}

/// Returns whether the command reads or writes, and may do that.
fn is_transfer(run: &Running) -> bool {
    match run.op() {
        Op::Read => true,
        Op::Write => !run.backing().is_read_only(),
        _ => false,
    }
}

/// Returns whether the request goes past the page cache, whatever the mode, for it is to
/// make memory free: through the page cache it would take as much first.
fn is_direct_swap(rq: &Request<LoopDevice>, run: &Running) -> bool {
    rq.is_swap() && run.backing().allows_direct(rq.pos(), rq.bytes())
}

/// Does what the request asks for. Sleeps.
fn status(rq: &mut Request<LoopDevice>, run: &Running, direct: bool) -> BlkStatus {
    let (op, backing) = (run.op(), run.backing());
    if op.is_write() && backing.is_read_only() {
        return BlkStatus::IOERR;
    }
    match op {
        Op::Read | Op::Write => {
            let access = running::access(rq, direct);
            transfer::run(rq, backing, access, run.retries())
        }
        Op::Flush => match backing.file().fsync() {
            Ok(()) => BlkStatus::OK,
            Err(_) => BlkStatus::IOERR,
        },
        Op::Discard | Op::WriteZeroes { .. } => allocation::change(rq, op, backing, run.retries()),
        Op::Unknown(op) => {
            pr_warn_once!("request with unknown operation {op}\n");
            BlkStatus::IOERR
        }
    }
}
