// SPDX-License-Identifier: GPL-2.0

//! The driver's data of a request, from `queue_rq` until the request ends.

use super::{
    group::CmdGroup,
    retry::Retries, //
};
use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Op,
            Request,
            RequestRef, //
        },
        cgroup::IoCgroup,
        fs::{
            kiocb::RwOptions,
            BackingFile, //
        },
        task::{
            TaskFlag,
            TaskFlags, //
        },
        time::KtimeNs,
    },
    backing_file::QueueBacking, //
};
use kernel::sync::Arc;

/// The requests of this driver. [`crate::loop_worker`] implements the operations.
pub(crate) struct LoopQueue;

/// The driver's data of a request.
pub(crate) struct LoopCmd {
    /// The backing file of the device when the command was queued.
    pub(super) backing: Arc<QueueBacking>,
    /// The cgroup that is charged; `None` for the root cgroup, swap-out, and commands that fell
    /// back to the rootcg worker.
    pub(super) cgroup: Option<IoCgroup>,
    /// State that the commands of the worker share.
    pub(super) group: Arc<CmdGroup>,
    pub(super) info: RequestInfo,
    /// When a worker has dequeued the command.
    pub(super) dequeue_time: KtimeNs,
    /// Whether reads and writes bypass the page cache of the file. Set when the command is
    /// dequeued.
    pub(super) is_direct: bool,
    /// The number of bytes that direct I/O has transferred.
    pub(super) transferred: u32,
    /// Whether direct I/O has been submitted to the file.
    pub(super) is_inflight: bool,
    /// Whether that I/O was submitted with the memory reserves.
    pub(super) uses_reserve: bool,
    /// Whether direct I/O ended early because the cgroup was out of memory.
    pub(super) is_cgroup_oom: bool,
    /// The value of [`oom_events`](super::retry::oom_events) at the submission.
    pub(super) oom_events: usize,
}

/// Properties of a request when it is queued.
#[derive(Clone, Copy)]
pub(crate) struct RequestInfo {
    pub(super) op: Op,
    pub(super) bytes: u32,
    /// When the block layer allocated the request.
    pub(super) start_time: KtimeNs,
}

impl RequestInfo {
    /// Returns the properties of `rq`. Any context.
    pub(crate) fn new(rq: &RequestRef) -> Self {
        Self {
            op: rq.op(),
            bytes: rq.bytes(),
            start_time: rq
                .start_time_ns()
                .map_or_else(KtimeNs::now, KtimeNs::from_nanos),
        }
    }
}

impl LoopCmd {
    /// Returns the data of a request that is about to be queued. `cgroup` is charged for it,
    /// and the worker with `group` will execute it. Any context.
    pub(crate) fn new(
        info: RequestInfo,
        backing: Arc<QueueBacking>,
        cgroup: Option<IoCgroup>,
        group: Arc<CmdGroup>,
    ) -> Self {
        Self {
            backing,
            cgroup,
            group,
            info,
            dequeue_time: info.start_time,
            is_direct: false,
            transferred: 0,
            is_inflight: false,
            uses_reserve: false,
            is_cgroup_oom: false,
            oom_events: 0,
        }
    }

    /// Returns how long the command has waited at `now`, in nanoseconds.
    pub(crate) fn queueing_delay(&self, now: KtimeNs) -> u64 {
        now.since(self.info.start_time)
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &BackingFile {
        self.backing.file()
    }

    /// Returns the position of the request in the file, in bytes.
    pub(super) fn file_pos(&self, rq: &RequestRef) -> u64 {
        self.backing.file_pos(rq.offset_bytes())
    }

    /// Returns the cgroup that is charged.
    pub(super) fn cgroup(&self) -> Option<&IoCgroup> {
        self.cgroup.as_ref()
    }

    /// Starts the first attempt at the command.
    pub(super) fn retries(&self) -> Retries<'_> {
        Retries::new(self.group.retry_state(), self.file(), self.cgroup())
    }

    /// Returns whether the command is certain to find the cgroup out of memory. Another command
    /// has failed for that reason while this one was queued, the cgroup is still at its limit,
    /// and the page cache needs new pages for all data of this command.
    pub(super) fn is_known_to_fail(&self, rq: &RequestRef) -> bool {
        self.info.op == Op::Write
            && self.group.memory.was_cgroup_oom_after(self.info.start_time)
            && self.cgroup().is_some_and(|cgroup| !cgroup.has_room())
            && self
                .file()
                .write_takes_pages(self.file_pos(rq), rq.bytes(), self.is_direct)
    }

    /// Accounts for a command that is about to end with `status`.
    fn account(&self, status: BlkStatus) {
        let run_time = KtimeNs::now().since(self.dequeue_time);
        self.group.stats.record(
            self.info.op,
            self.info.bytes,
            status,
            self.queueing_delay(self.dequeue_time),
            run_time,
        );
        if self.is_inflight {
            self.group.stats.dec_inflight();
        }
    }
}

/// Accounts for a command and ends its request. Any context, but not from the callback of
/// other I/O, see [`Request::complete`].
pub(super) fn end(rq: Request<LoopQueue>, status: BlkStatus) {
    rq.data().account(status);
    rq.end(status);
}

/// Accounts for a command and ends its request, from the callback of other I/O. Any context.
pub(super) fn complete(rq: Request<LoopQueue>, status: BlkStatus) {
    rq.data().account(status);
    rq.complete(status);
}

/// Returns the flags of a thread while it executes commands (`PF_LOCAL_THROTTLE`,
/// `PF_MEMALLOC_NOIO`). Reclaim may wait for the commands, so their allocations must not start
/// I/O, and only the backing device may throttle them.
pub(crate) fn worker_flags() -> TaskFlags {
    TaskFlag::LocalThrottle | TaskFlag::MemallocNoio
}

/// Returns the options for reading or writing the data of `rq`.
pub(super) fn rw_options(rq: &RequestRef, is_direct: bool) -> RwOptions {
    RwOptions {
        direct: is_direct,
        dsync: rq.is_fua(),
        nowait: false,
        ioprio: rq.ioprio(),
    }
}
