// SPDX-License-Identifier: GPL-2.0

//! Asynchronous direct I/O: the worker submits it, and the backing file completes it, possibly
//! in an interrupt. A thread finishes what cannot be finished there.

use super::{
    cmd::{
        complete,
        end,
        rw_options,
        worker_flags,
        LoopCmd,
        LoopQueue, //
    },
    retry::{
        self,
        Retries, //
    },
    rw,
    swap, //
};
use crate::abstractions::{
    block::{
        file_io::{
            BvecArrays,
            CompletedIn,
            FileIo, //
        },
        mq::{
            BlkStatus,
            Op,
            Request,
            RequestMut,
            RequestRef,
            SECTOR_SIZE, //
        },
    },
    cgroup::IoCgroup,
    fs::BackingFile,
    task,
    workqueue::OwnedQueue, //
};
use kernel::prelude::*;

/// Submits direct I/O. Sleeps.
///
/// # Errors
///
/// The request comes back if the I/O cannot be submitted without waiting for it.
pub(super) fn submit_direct(mut rq: Request<LoopQueue>) -> Result<(), Request<LoopQueue>> {
    let cmd = rq.data();
    if cmd.is_known_to_fail(&rq) {
        return Err(rq);
    }
    let pos = cmd.file_pos(&rq);
    let options = rw_options(&rq, true);
    let oom_events = retry::oom_events(cmd.cgroup());
    // The request may have ended before the file returns.
    let cgroup = cmd.cgroup.clone();
    IoCgroup::associate_with(cgroup.as_ref(), || {
        let reserve = swap::may_use_reserve(rq.data(), &rq);
        let cmd = rq.data_mut();
        cmd.oom_events = oom_events;
        cmd.is_inflight = true;
        cmd.group.stats.inc_inflight();
        task::with_memory_reserve_if(reserve, || rq.submit_file_io(pos, options))
    })
    .map_err(|mut rq| {
        let cmd = rq.data_mut();
        cmd.is_inflight = false;
        cmd.group.stats.dec_inflight();
        rq
    })
}

impl LoopCmd {
    /// Returns the attempt that began when the I/O was submitted. Any context.
    fn submitted_attempt(&self) -> Retries<'_> {
        Retries::since(
            self.group.retry_state(),
            self.file(),
            self.cgroup(),
            self.oom_events,
        )
    }

    /// Returns whether the page cache of the file has pages of a range that was written past
    /// it. They may be older: they were read during the write, and a block device drops pages
    /// only after a synchronous write. In direct mode they do no harm, as nothing reads them
    /// unless they have been dropped.
    fn leaves_stale_pages(&self, rq: &RequestRef) -> bool {
        self.info.op == Op::Write
            && !self.backing.is_direct()
            && self.file().is_cached(self.file_pos(rq), self.info.bytes)
    }

    /// Decides what follows after the file has transferred `result` bytes: the status, or
    /// `None` if the rest has to be done in process context.
    fn direct_status(&mut self, rq: &RequestRef, result: Result<usize>) -> Option<BlkStatus> {
        match result {
            Ok(n) => {
                self.transferred = self.info.bytes.min(n as u32);
                if self.transferred < self.info.bytes {
                    self.is_cgroup_oom = self.submitted_attempt().is_final(ENOMEM);
                    return None;
                }
                if self.leaves_stale_pages(rq) {
                    return None;
                }
                self.group.memory.succeeded();
                Some(BlkStatus::OK)
            }
            Err(err) if self.submitted_attempt().is_final(err) => Some(err.into()),
            Err(err) if rw::should_retry_buffered(err) => None,
            Err(err) => Some(err.into()),
        }
    }

    /// Does what is left, waiting for it. Sleeps.
    fn do_rest(&self, rq: &mut RequestMut<'_>) -> BlkStatus {
        if self.transferred == self.info.bytes {
            self.file()
                .drop_cached(self.file_pos(rq), self.info.bytes.into());
            return BlkStatus::OK;
        }
        rq.update(self.transferred - self.transferred % SECTOR_SIZE);
        if self.is_cgroup_oom {
            return ENOMEM.into();
        }
        rw::rw_blocking(self, rq, rw_options(rq, true))
    }
}

impl FileIo<LoopQueue> for LoopCmd {
    fn file(&self) -> &BackingFile {
        self.backing.file()
    }

    fn arrays(&self) -> &BvecArrays {
        self.backing.arrays()
    }

    fn queue(&self) -> &OwnedQueue {
        self.backing.queue()
    }

    fn done(mut rq: Request<LoopQueue>, result: Result<usize>, within: CompletedIn) {
        let (request, cmd) = rq.parts();
        let Some(status) = cmd.direct_status(&request, result) else {
            cmd.group.stats.deferred();
            return rq.defer();
        };
        // In the worker's own task, with all functions of the file returned from, the softirq
        // would only be a detour, by way of yet another task.
        if within == CompletedIn::SubmitCall || cmd.group.unplugging.contains_current() {
            end(rq, status);
        } else {
            complete(rq, status);
        }
    }

    /// Does the rest of the I/O: past the page cache if that is possible, else through it,
    /// where a file may end early and nothing need be aligned.
    fn resume(mut rq: Request<LoopQueue>) {
        let (mut request, cmd) = rq.parts();
        let cmd = &*cmd;
        let status = task::with_flags(worker_flags(), || {
            IoCgroup::associate_with(cmd.cgroup(), || cmd.do_rest(&mut request))
        });
        end(rq, status);
    }
}
