// SPDX-License-Identifier: GPL-2.0

//! Asynchronous direct I/O: the worker submits it, and the backing file completes it, possibly
//! in an interrupt. I/O that cannot be finished there is finished in process context.

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
            FileIo, //
        },
        mq::{
            BlkStatus,
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
/// Returns the request if the I/O cannot be submitted without waiting for its completion, or is
/// known to fail.
pub(super) fn submit_direct(mut rq: Request<LoopQueue>) -> Result<(), Request<LoopQueue>> {
    let cmd = rq.data();
    if cmd.is_known_to_fail(&rq) {
        return Err(rq);
    }
    let pos = cmd.file_pos(&rq);
    let options = rw_options(&rq, true);
    let oom_events = retry::oom_events(cmd.cgroup());
    // The request, and with it the command, may end before the file returns.
    let cgroup = cmd.cgroup.clone();
    IoCgroup::associate_with(cgroup.as_ref(), || {
        let reserve = swap::prepare_reserve(rq.data(), &rq);
        let cmd = rq.data_mut();
        cmd.oom_events = oom_events;
        cmd.is_inflight = true;
        cmd.group.stats.inc_inflight();
        cmd.uses_reserve = reserve;
        if reserve {
            let options = swap::without_transaction(&cmd.backing, options);
            task::with_memory_reserve(|| rq.submit_file_io(pos, options))
        } else {
            rq.submit_file_io(pos, options)
        }
    })
    .map_err(|mut rq| {
        let cmd = rq.data_mut();
        cmd.is_inflight = false;
        cmd.group.stats.dec_inflight();
        rq
    })
}

impl LoopCmd {
    /// Returns the attempt that began with the submission of the I/O. Any context.
    fn submitted_attempt(&self) -> Retries<'_> {
        Retries::resumed(
            self.group.retry_state(),
            self.file(),
            self.cgroup(),
            self.oom_events,
        )
    }

    /// Returns the status of the command after the file has transferred `result` bytes. `None` if
    /// process context is needed for the rest.
    fn direct_status(&mut self, rq: &RequestRef, result: Result<usize>) -> Option<BlkStatus> {
        match result {
            Ok(n) => {
                if self.uses_reserve {
                    self.group.stats.used_reserve();
                }
                self.transferred = self.info.bytes.min(n as u32);
                if self.transferred < self.info.bytes {
                    self.is_cgroup_oom = self.submitted_attempt().is_final(ENOMEM);
                    return None;
                }
                if self.leaves_stale_pages(self.file_pos(rq), self.info.bytes) {
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

    /// Finishes direct I/O that the file has done in part or not at all, or that may have left stale
    /// pages in the page cache. Waits for the I/O, sleeps.
    fn do_rest(&self, rq: &mut RequestMut<'_>) -> BlkStatus {
        let pos = self.file_pos(rq);
        let is_direct = !self.leaves_stale_pages(pos, self.info.bytes)
            || self.file().drop_cached(pos, self.transferred.into());
        if is_direct {
            if self.transferred == self.info.bytes {
                return BlkStatus::OK;
            }
            rq.update(self.transferred - self.transferred % SECTOR_SIZE);
        }
        if self.is_cgroup_oom {
            return ENOMEM.into();
        }
        rw::rw_blocking(self, rq, is_direct)
    }
}

impl FileIo<LoopQueue> for LoopCmd {
    fn file(&self) -> &BackingFile {
        self.backing.file()
    }

    fn arrays(&self) -> &BvecArrays {
        self.backing.arrays()
    }

    /// Swap-out has a workqueue of its own here, too: the rescuer of the other one may be in any
    /// command that waits for memory, and that one only in a swap-out.
    fn queue(&self, rq: &RequestRef) -> &OwnedQueue {
        if rq.is_swap() {
            self.backing.swap_queue()
        } else {
            self.backing.queue()
        }
    }

    fn done(mut rq: Request<LoopQueue>, result: Result<usize>) {
        let (request, cmd) = rq.parts();
        let Some(status) = cmd.direct_status(&request, result) else {
            cmd.group.stats.deferred();
            return rq.defer();
        };
        complete(rq, status);
    }

    /// Finishes the I/O: bypasses the page cache if possible, else uses it. Buffered I/O needs no
    /// alignment, and handles a file that ends early.
    fn resume(mut rq: Request<LoopQueue>) {
        let (mut request, cmd) = rq.parts();
        let cmd = &*cmd;
        let status = task::with_flags(worker_flags(), || {
            IoCgroup::associate_with(cmd.cgroup(), || cmd.do_rest(&mut request))
        });
        end(rq, status);
    }
}
