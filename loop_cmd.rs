// SPDX-License-Identifier: GPL-2.0

//! Commands: the driver's data of a request, and the execution of the request on the backing
//! file.
//!
//! [`LoopCmd`] is stored behind the request from `queue_rq` until the request ends. A worker
//! dequeues the request and either
//!
//! - *issues* it without waiting ([`try_issue`]): direct I/O is submitted ([`aio`]) and ends
//!   in a callback, a cached read is copied; or
//! - *executes* it ([`execute_blocking`]) in its own task ([`rw`], [`fallocate`]).
//!
//! Both run in the worker's task, which may sleep. `REQ_NOWAIT` applies only to the submission
//! to this device, so the driver does not pass it on to the file.

#![forbid(unsafe_code)]

pub(crate) mod group;
pub(crate) mod stats;

mod aio;
mod cmd;
mod fallocate;
mod retry;
mod rw;
mod swap;

pub(crate) use self::cmd::{
    worker_flags,
    LoopCmd,
    LoopQueue,
    RequestInfo, //
};

use self::cmd::end;
use crate::abstractions::{
    block::mq::{
        BlkStatus,
        Op,
        Request,
        RequestList,
        RequestMut, //
    },
    cgroup::IoCgroup,
    time::KtimeNs, //
};
use kernel::{
    pr_warn_once,
    prelude::*, //
};

/// The outcome of [`try_issue`].
pub(crate) enum TryIssue {
    /// The command has been completed, or the backing file will complete it.
    Issued,
    /// Part of the range was not cached, and the filesystem has usually started to read it.
    /// Executing the command later is then cheap. This lets a single worker keep many reads
    /// in flight on the backing device.
    Readahead(Request<LoopQueue>),
    /// The command must be [executed](execute_blocking).
    WouldBlock(Request<LoopQueue>),
}

impl LoopCmd {
    /// Returns whether the command can make progress without waiting for the backing
    /// device. `is_only_cmd` says that the worker has no other command. A
    /// buffered read is executed then, because waiting for it delays no other command.
    pub(crate) fn can_issue(&self, is_only_cmd: bool) -> bool {
        if self.is_direct {
            return match self.info.op {
                Op::Read => true,
                Op::Write => !self.backing.is_read_only(),
                _ => false,
            };
        }
        !is_only_cmd && self.info.op == Op::Read && self.file().has_nowait()
    }

    /// Performs the operation of the request on the file. Sleeps.
    fn do_req_filebacked(&self, rq: &mut RequestMut<'_>) -> BlkStatus {
        let op = self.info.op;
        if op.is_write() && self.backing.is_read_only() {
            return BlkStatus::IOERR;
        }
        match op {
            Op::Read | Op::Write => {
                if self.is_known_to_fail(rq) {
                    return ENOMEM.into();
                }
                rw::rw_blocking(self, rq, self.is_direct)
            }
            // A flush makes data durable, but not the file's timestamps. On a journaling
            // filesystem those would force a commit.
            Op::Flush => match self.backing.flush() {
                Ok(()) => BlkStatus::OK,
                Err(err) => err.into(),
            },
            Op::Discard | Op::WriteZeroes { .. } => fallocate::do_fallocate(self, rq),
            Op::Unknown(op) => {
                pr_warn_once!("request with unknown operation {op}\n");
                BlkStatus::IOERR
            }
        }
    }
}

/// Takes the first request out of `list`, which a worker has dequeued at `now`.
pub(crate) fn next_cmd(
    list: &mut RequestList<LoopQueue>,
    now: KtimeNs,
) -> Option<Request<LoopQueue>> {
    let mut rq = list.pop_front()?;
    let (request, cmd) = rq.parts();
    cmd.dequeue_time = now;
    cmd.is_direct = cmd.backing.is_direct() || swap::carries_direct_swap(&request, &cmd.backing);
    Some(rq)
}

/// Issues a command that [can be](LoopCmd::can_issue). Process context of a kernel
/// thread; sleeps, for example in the backing filesystem, but waits for the backing device only
/// where swap-out meets cached pages.
pub(crate) fn try_issue(rq: Request<LoopQueue>) -> TryIssue {
    let cmd = rq.data();
    if cmd.is_direct {
        return match aio::submit_direct(rq) {
            Ok(()) => TryIssue::Issued,
            Err(rq) => TryIssue::WouldBlock(rq),
        };
    }
    if IoCgroup::associate_with(cmd.cgroup(), || rw::read_nowait(cmd, &rq)) {
        end(rq, BlkStatus::OK);
        return TryIssue::Issued;
    }
    TryIssue::Readahead(rq)
}

/// Executes a command and ends its request. Process context of a kernel thread; sleeps.
pub(crate) fn execute_blocking(mut rq: Request<LoopQueue>) {
    let (mut request, cmd) = rq.parts();
    let cmd = &*cmd;
    let status = IoCgroup::associate_with(cmd.cgroup(), || cmd.do_req_filebacked(&mut request));
    end(rq, status);
}
