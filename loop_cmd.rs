// SPDX-License-Identifier: GPL-2.0

//! Commands: what is to be done to the backing file for one request.
//!
//! A command is made when a worker takes a request from its queue, and ends with
//! it. It runs in the worker's task, which may sleep, so `REQ_NOWAIT` has done
//! its work by then and is not passed on.

pub(crate) mod stats;

mod allocation;
mod transfer;

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

    /// Does what the request asks for, accounts for it, and ends it. Process
    /// context of a kernel thread; sleeps, in the backing filesystem among others.
    pub(crate) fn execute(self, stats: &Stats) {
        let Self { mut rq, queued } = self;
        let Queued {
            backing,
            charge,
            at,
        } = queued;
        let (op, bytes) = (rq.op(), rq.bytes());
        let begin = Instant::now();
        let status = {
            let _charged = charge.as_ref().map(Charge::enter);
            Self::status(&mut rq, &backing)
        };
        // Once a request has ended, whoever issued it may look, and the device may
        // find itself without users of its backing file.
        stats.account(op, bytes, status, begin - at, begin.elapsed());
        drop((backing, charge));
        rq.end(status);
    }

    fn status(rq: &mut Request<LoopDevice>, backing: &Backing) -> BlkStatus {
        let op = rq.op();
        if op.is_write() && backing.is_read_only() {
            return BlkStatus::IOERR;
        }
        match op {
            Op::Read => transfer::read(rq, backing),
            Op::Write => transfer::write(rq, backing),
            Op::Flush => match backing.file().fsync() {
                Ok(()) => BlkStatus::OK,
                Err(_) => BlkStatus::IOERR,
            },
            Op::Discard | Op::WriteZeroes { .. } => allocation::change(rq, op, backing),
            Op::Unknown(op) => {
                pr_warn_once!("request with unknown operation {op}\n");
                BlkStatus::IOERR
            }
        }
    }
}
