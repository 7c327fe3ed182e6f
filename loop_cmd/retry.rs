// SPDX-License-Identifier: GPL-2.0

//! Repeating attempts that failed because of a lack of memory.
//!
//! Commands repeat operations for which the filesystem has no memory, for up to
//! [`RETRY_TIMEOUT`]. The data of the command may be the dirty pages whose write-back would free
//! memory, and the task that dirtied them cannot handle an error.
//!
//! A command does not repeat an attempt if its cgroup is out of memory: at its limit, with nothing
//! to reclaim and no task to kill. Each attempt would invoke the OOM killer, which logs a report
//! of a hundred lines. Commands that are queued at that time fail with it. Reclaim does not wait
//! for write-back of the page cache of the file, so the command does that before it gives up.

use super::stats::Stats;
use crate::abstractions::{
    cgroup::IoCgroup,
    fs::BackingFile,
    task,
    time::{
        AtomicKtimeNs,
        KtimeNs, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

/// The time for which attempts are repeated.
const RETRY_TIMEOUT: Delta = Delta::from_secs(10);

/// The longest pause between two attempts, in calls of `memalloc_retry_wait()`: about a second.
const MAX_BACKOFF: u32 = 50;

/// The time after the cgroup was out of memory for which its commands write back dirty pages
/// before they write more, in nanoseconds.
const TIGHT_NANOS: u64 = 10_000_000_000;

/// The success of recent commands of a worker in getting memory.
pub(super) struct MemoryState {
    /// Whether commands fail at once if the filesystem has no memory.
    retries_exhausted: Atomic<bool>,
    /// The time of the last failure because the cgroup was out of memory. Reset when a command
    /// succeeds.
    cgroup_oom: AtomicKtimeNs,
    /// The time until which commands write back dirty pages before they write more.
    tight_until: AtomicKtimeNs,
}

impl MemoryState {
    /// Returns the state of a worker without commands.
    pub(super) fn new() -> Self {
        Self {
            retries_exhausted: Atomic::new(false),
            cgroup_oom: AtomicKtimeNs::default(),
            tight_until: AtomicKtimeNs::default(),
        }
    }

    /// Returns whether a command has exhausted its retries, with no success since.
    fn retries_exhausted(&self) -> bool {
        self.retries_exhausted.load(Relaxed)
    }

    /// Makes commands fail at once if the filesystem has no memory, until one succeeds.
    fn set_retries_exhausted(&self) {
        self.retries_exhausted.store(true, Relaxed);
    }

    /// Returns whether another command has found the cgroup out of memory after `start_time`, with
    /// no success since.
    pub(super) fn was_cgroup_oom_after(&self, start_time: KtimeNs) -> bool {
        self.cgroup_oom.get().is_after(start_time)
    }

    /// Records that a command has found its cgroup out of memory.
    fn set_cgroup_oom(&self) {
        self.cgroup_oom.set(KtimeNs::now());
    }

    /// Returns whether the cgroup was recently out of memory until dirty pages were written back.
    fn is_tight(&self) -> bool {
        let until = self.tight_until.get();
        // The first condition avoids reading the clock in the usual case.
        until.is_after(KtimeNs::PAST) && until.is_after(KtimeNs::now())
    }

    /// Records that the cgroup is out of memory until dirty pages are written back.
    fn set_tight(&self) {
        self.tight_until.set(KtimeNs::now().after(TIGHT_NANOS));
    }

    /// Records that a command, or a part of it, has succeeded.
    pub(super) fn succeeded(&self) {
        if self.retries_exhausted() {
            self.retries_exhausted.store(false, Relaxed);
        }
        if self.was_cgroup_oom_after(KtimeNs::PAST) {
            self.cgroup_oom.set(KtimeNs::PAST);
        }
    }
}

/// The attempts at one command.
pub(super) struct Retries<'a> {
    stats: &'a Stats,
    memory: &'a MemoryState,
    file: &'a BackingFile,
    charge: Option<&'a IoCgroup>,
    /// The value of [`IoCgroup::oom_events`] before the last attempt.
    oom_events: usize,
    first_wait: Option<Instant<Monotonic>>,
    /// The pause before the next attempt, in calls of `memalloc_retry_wait()`.
    backoff: u32,
    /// Whether dirty pages have been written back since the last success.
    is_written_back: bool,
}

impl<'a> Retries<'a> {
    /// Starts the first attempt at a command on `file`. Attempts are charged to `charge`. `stats`
    /// and `memory` are shared by the commands of the worker: once a command has exhausted its
    /// retries, further commands fail at once until one succeeds.
    pub(super) fn new(
        (stats, memory): (&'a Stats, &'a MemoryState),
        file: &'a BackingFile,
        charge: Option<&'a IoCgroup>,
    ) -> Self {
        Self::resumed((stats, memory), file, charge, oom_events(charge))
    }

    /// Like [`Self::new`], for an attempt that began when [`oom_events`] returned `oom_events`.
    pub(super) fn resumed(
        (stats, memory): (&'a Stats, &'a MemoryState),
        file: &'a BackingFile,
        charge: Option<&'a IoCgroup>,
        oom_events: usize,
    ) -> Self {
        Self {
            stats,
            memory,
            file,
            charge,
            oom_events,
            first_wait: None,
            backoff: 1,
            is_written_back: false,
        }
    }

    /// Returns whether to try again after an error. Waits before that, twice as long each time.
    /// Sleeps.
    pub(super) fn again(&mut self, err: Error) -> bool {
        if (err != ENOMEM && err != EAGAIN) || self.memory.retries_exhausted() {
            return false;
        }
        if err == ENOMEM && self.is_cgroup_oom() {
            return self.again_after_writeback();
        }
        if !self.wait() {
            return false;
        }
        self.stats.retried();
        self.oom_events = oom_events(self.charge);
        true
    }

    /// Returns whether to go on after an attempt that has transferred a part. Sleeps.
    pub(super) fn again_after_part(&mut self) -> bool {
        self.is_written_back = false;
        !self.is_cgroup_oom() || self.again_after_writeback()
    }

    /// Returns whether an attempt that failed with `err` must not be repeated, because the cgroup
    /// is out of memory and the file has no dirty pages. Records that. Any context.
    pub(super) fn is_final(&self, err: Error) -> bool {
        let is_final = err == ENOMEM && self.is_cgroup_oom() && !self.file.is_dirty();
        if is_final {
            self.memory.set_cgroup_oom();
        }
        is_final
    }

    /// Writes back dirty pages if that has recently freed memory for the cgroup, and the cgroup is
    /// at its limit. Otherwise writing more to the page cache would invoke the OOM killer again.
    /// Sleeps.
    pub(super) fn prepare_write(&mut self) {
        if self.memory.is_tight() && self.charge.is_some_and(|charge| !charge.has_room()) {
            self.write_back();
        }
    }

    /// Records a success.
    pub(super) fn succeeded(&self) {
        self.memory.succeeded();
    }

    /// Returns whether the last attempt found the cgroup out of memory. Any context.
    ///
    /// Reclaim and the OOM killer have been tried then, so another attempt would only invoke them
    /// again, unless another task has freed memory since.
    fn is_cgroup_oom(&self) -> bool {
        self.charge
            .is_some_and(|charge| oom_events(self.charge) != self.oom_events && !charge.has_room())
    }

    /// Writes back dirty pages of the file while the cgroup is out of memory. Returns whether to
    /// try again. Sleeps.
    fn again_after_writeback(&mut self) -> bool {
        if self.is_written_back || !self.file.is_dirty() {
            self.memory.set_cgroup_oom();
            return false;
        }
        self.memory.set_tight();
        self.stats.retried();
        let is_clean = self.write_back();
        self.is_written_back = true;
        self.oom_events = oom_events(self.charge);
        is_clean
    }

    /// Writes back the dirty pages of the file. Returns `false` after [`RETRY_TIMEOUT`]. Sleeps.
    fn write_back(&mut self) -> bool {
        while self.file.is_dirty() {
            self.file.start_writeback();
            if !self.wait() {
                return false;
            }
        }
        true
    }

    /// Waits, twice as long each time. Returns `false` after [`RETRY_TIMEOUT`]. Sleeps.
    fn wait(&mut self) -> bool {
        let since = *self.first_wait.get_or_insert_with(Instant::now);
        if since.elapsed() > RETRY_TIMEOUT {
            self.memory.set_retries_exhausted();
            return false;
        }
        for _ in 0..self.backoff {
            task::memalloc_retry_wait();
        }
        self.backoff = (2 * self.backoff).min(MAX_BACKOFF);
        true
    }
}

/// Returns [`IoCgroup::oom_events`] of `charge`.
pub(super) fn oom_events(charge: Option<&IoCgroup>) -> usize {
    charge.map_or(0, IoCgroup::oom_events)
}
