// SPDX-License-Identifier: GPL-2.0

//! Trying again what failed for want of memory.
//!
//! A filesystem may say that it has no memory for what it was asked to do. The data
//! that the command carries may be all that keeps memory from being free, and who
//! wrote it can do nothing about an error, so the command waits, and is done when
//! there is memory again. But not forever.
//!
//! A command does not wait if its cgroup is out of memory: at its limit, with nothing to
//! reclaim and no task to kill. Each attempt would invoke the OOM killer, which writes a
//! report of a hundred lines. The commands that wait with it fail with it. Reclaim does not
//! wait for the page cache of the file to be written back, so the command does that first.

use super::stats::Stats;
use crate::abstractions::{
    cgroup::Charge,
    fs::BackingFile,
    task, //
};
use kernel::{
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

/// How long a command is tried.
const PATIENCE: Delta = Delta::from_secs(10);

/// The most moments that pass between two attempts: about a second.
const MOST_MOMENTS: u32 = 50;

/// The attempts at one command.
pub(super) struct Retries<'a> {
    stats: &'a Stats,
    file: &'a BackingFile,
    charge: Option<&'a Charge>,
    /// The value of [`Charge::oom_events`] before the last attempt.
    oom_events: usize,
    since: Option<Instant<Monotonic>>,
    /// How many moments pass before the next attempt.
    moments: u32,
    /// Whether what was dirty has been written back, with no success since.
    is_written_back: bool,
}

impl<'a> Retries<'a> {
    /// Returns what it takes to repeat an attempt on `file` that is about to be made.
    /// `charge` is what it is charged to. `stats` are those of the worker: after a command has
    /// run out of patience, the next ones have none until one succeeds.
    pub(super) fn new(stats: &'a Stats, file: &'a BackingFile, charge: Option<&'a Charge>) -> Self {
        Self::since(stats, file, charge, oom_events(charge))
    }

    /// Returns the same for an attempt that was made when [`oom_events`] were `oom_events`.
    pub(super) fn since(
        stats: &'a Stats,
        file: &'a BackingFile,
        charge: Option<&'a Charge>,
        oom_events: usize,
    ) -> Self {
        Self {
            stats,
            file,
            charge,
            oom_events,
            since: None,
            moments: 1,
            is_written_back: false,
        }
    }

    /// Returns those of whose command it is.
    pub(super) fn stats(&self) -> &'a Stats {
        self.stats
    }

    /// Returns whether to try again after an error, having waited for a moment; each time
    /// for twice as long. Sleeps.
    pub(super) fn again(&mut self, err: Error) -> bool {
        if (err != ENOMEM && err != EAGAIN) || self.stats.is_starved() {
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
            self.stats.set_cgroup_oom();
        }
        is_final
    }

    /// Writes back what is dirty if the cgroup was out of memory for that a short time ago and
    /// is at its limit: to write more through the page cache would invoke the OOM killer again.
    /// Sleeps.
    pub(super) fn prepare_write(&mut self) {
        if self.stats.is_tight() && self.charge.is_some_and(|charge| !charge.has_room()) {
            self.write_back();
        }
    }

    /// Notes a success.
    pub(super) fn succeeded(&self) {
        self.stats.succeeded();
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
            self.stats.set_cgroup_oom();
            return false;
        }
        self.stats.set_tight();
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
        if since.elapsed() > PATIENCE {
            self.stats.set_starved();
            return false;
        }
        for _ in 0..self.moments {
            task::wait_for_memory();
        }
        self.moments = (2 * self.moments).min(MOST_MOMENTS);
        true
    }
}

/// Returns [`Charge::oom_events`] of `charge`.
pub(super) fn oom_events(charge: Option<&Charge>) -> usize {
    charge.map_or(0, Charge::oom_events)
}
