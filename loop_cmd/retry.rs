// SPDX-License-Identifier: GPL-2.0

//! Repeating attempts that failed because of a lack of memory.
//!
//! A filesystem may report that it has no memory for an operation. The data of the command may
//! be all that keeps memory from being freed, and their writer can do nothing about an error.
//! So the command waits and is done when there is memory again, but not forever.
//!
//! A command does not wait if its cgroup is out of memory: at its limit, with nothing to
//! reclaim and no task to kill. Each attempt would invoke the OOM killer, which writes a
//! report of a hundred lines. The commands that wait with it fail with it. Reclaim does not
//! wait for the page cache of the file to be written back, so the command does that first.

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

/// The time for which commands write back dirty pages before they write more, in nanoseconds,
/// after their cgroup was out of memory.
const TIGHT_NANOS: u64 = 10_000_000_000;

/// Whether there was memory for recent commands of a worker.
pub(super) struct MemoryState {
    /// Whether commands fail at once if there is no memory.
    retries_exhausted: Atomic<bool>,
    /// When a command has failed because its cgroup was out of memory, if none has succeeded
    /// since.
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

    /// Returns whether the last command that waited for memory got none.
    fn retries_exhausted(&self) -> bool {
        self.retries_exhausted.load(Relaxed)
    }

    /// Notes that commands are to fail at once if there is no memory, until one succeeds.
    fn set_retries_exhausted(&self) {
        self.retries_exhausted.store(true, Relaxed);
    }

    /// Returns whether a command that was submitted at `start_time` was waiting when another one
    /// found the cgroup out of memory, with no success since.
    pub(super) fn was_cgroup_oom_after(&self, start_time: KtimeNs) -> bool {
        self.cgroup_oom.get().is_after(start_time)
    }

    /// Notes that a command has found its cgroup out of memory.
    fn set_cgroup_oom(&self) {
        self.cgroup_oom.set(KtimeNs::now());
    }

    /// Returns whether the cgroup was out of memory a short time ago, but for pages that have
    /// been written back since.
    fn is_tight(&self) -> bool {
        let until = self.tight_until.get();
        until.is_after(KtimeNs::PAST) && until.is_after(KtimeNs::now())
    }

    /// Notes that the cgroup is out of memory, but for pages that are about to be written back.
    fn set_tight(&self) {
        self.tight_until.set(KtimeNs::now().after(TIGHT_NANOS));
    }

    /// Notes that a command, or part of it, has had the memory that it needed.
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
    since: Option<Instant<Monotonic>>,
    /// The pause before the next attempt, in calls of `memalloc_retry_wait()`.
    backoff: u32,
    /// Whether dirty pages have been written back, with no success since.
    is_written_back: bool,
}

impl<'a> Retries<'a> {
    /// Returns the attempts on `file`, the first of which is about to begin. They are charged to
    /// `charge`. `stats` and `memory` are those of the worker: after the attempts at a command
    /// have taken too long, the next ones are not repeated until one succeeds.
    pub(super) fn new(
        (stats, memory): (&'a Stats, &'a MemoryState),
        file: &'a BackingFile,
        charge: Option<&'a IoCgroup>,
    ) -> Self {
        Self::since((stats, memory), file, charge, oom_events(charge))
    }

    /// Returns the same for an attempt that was made when [`oom_events`] were `oom_events`.
    pub(super) fn since(
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
            since: None,
            backoff: 1,
            is_written_back: false,
        }
    }

    /// Returns whether to try again after an error, having waited for a moment; each time
    /// for twice as long. Sleeps.
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

    /// Returns whether to go on after an attempt that has done something, but not all. Sleeps.
    pub(super) fn again_after_part(&mut self) -> bool {
        self.is_written_back = false;
        !self.is_cgroup_oom() || self.again_after_writeback()
    }

    /// Returns whether another attempt, after one that failed with `err`, would fail as well,
    /// since the cgroup is out of memory. Any context.
    pub(super) fn is_final(&self, err: Error) -> bool {
        let is_final = err == ENOMEM && self.is_cgroup_oom() && !self.file.is_dirty();
        if is_final {
            self.memory.set_cgroup_oom();
        }
        is_final
    }

    /// Writes back what is dirty if the cgroup was out of memory for that a short time ago and
    /// is at its limit: to write more through the page cache would invoke the OOM killer again.
    /// Sleeps.
    pub(super) fn prepare_write(&mut self) {
        if self.memory.is_tight() && self.charge.is_some_and(|charge| !charge.has_room()) {
            self.write_back();
        }
    }

    /// Notes a success.
    pub(super) fn succeeded(&self) {
        self.memory.succeeded();
    }

    /// Returns whether the last attempt found the cgroup out of memory. Any context.
    ///
    /// Reclaim and the OOM killer have then been tried, so another attempt would only invoke
    /// them again. If another task has freed memory since, there is room.
    fn is_cgroup_oom(&self) -> bool {
        self.charge
            .is_some_and(|charge| oom_events(self.charge) != self.oom_events && !charge.has_room())
    }

    /// Returns whether to try again with the cgroup out of memory, having written back what is
    /// dirty. Sleeps.
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

    /// Writes back what is dirty. Returns whether patience has lasted for it. Sleeps.
    fn write_back(&mut self) -> bool {
        while self.file.is_dirty() {
            self.file.start_writeback();
            if !self.wait() {
                return false;
            }
        }
        true
    }

    /// Waits for a moment, each time for twice as long. Returns whether there is any patience
    /// left. Sleeps.
    fn wait(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
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
