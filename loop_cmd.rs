// SPDX-License-Identifier: GPL-2.0

//! Commands: what is to be done to the backing file for one request.
//!
//! A command is made when a worker takes a request from its queue, and ends with
//! it. It runs in the worker's task, which may sleep, so `REQ_NOWAIT` has done
//! its work by then and is not passed on.

mod allocation;
mod transfer;

use crate::{
    abstractions::block::mq::{
        BlkStatus,
        Op,
        Request, //
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::{
    pr_warn_once,
    sync::Arc, //
};

/// A request and the file that it is for.
pub(crate) struct LoopCmd {
    rq: Request<LoopDevice>,
    backing: Arc<Backing>,
}

impl LoopCmd {
    /// Pairs a request with the file that was the device's when it came.
    pub(crate) fn new(rq: Request<LoopDevice>, backing: Arc<Backing>) -> Self {
        Self { rq, backing }
    }

    /// Does what the request asks for, and ends it. Process context; sleeps, in
    /// the backing filesystem among others.
    pub(crate) fn execute(self) {
        let Self { mut rq, backing } = self;
        let status = Self::status(&mut rq, &backing);
        // A queue without requests is one without users of its backing file.
        drop(backing);
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
