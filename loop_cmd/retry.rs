// SPDX-License-Identifier: GPL-2.0

//! Trying again what failed for want of memory.
//!
//! A filesystem may say that it has no memory for what it was asked to do. The data
//! that the command carries may be all that keeps memory from being free, and who
//! wrote it can do nothing about an error, so the command waits, and is done when
//! there is memory again. But not forever: the memory of a cgroup may have come to its
//! limit with nothing in it that can be given back.

use super::stats::Stats;
use crate::abstractions::task;
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
///
/// An attempt that a cgroup has no memory for makes the kernel look for somebody to kill,
/// and if there is nobody, write to its log what it has looked at, a hundred lines.
const MOST_MOMENTS: u32 = 50;

/// The attempts at one command.
pub(super) struct Retries<'a> {
    stats: &'a Stats,
    since: Option<Instant<Monotonic>>,
    /// How many moments pass before the next attempt.
    moments: u32,
}

impl<'a> Retries<'a> {
    /// `stats` are those of whose command it is: after one has run out of patience,
    /// the next ones have none until one succeeds.
    pub(super) fn new(stats: &'a Stats) -> Self {
        Self {
            stats,
            since: None,
            moments: 1,
        }
    }

    /// Returns whether to try again after an error, having waited for a moment; each time
    /// for twice as long. Sleeps.
    pub(super) fn again(&mut self, err: Error) -> bool {
        if (err != ENOMEM && err != EAGAIN) || self.stats.is_starved() {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            self.stats.set_starved(true);
            return false;
        }
        self.stats.retried();
        for _ in 0..self.moments {
            task::wait_for_memory();
        }
        self.moments = (2 * self.moments).min(MOST_MOMENTS);
        true
    }

    /// Notes a success.
    pub(super) fn succeeded(&self) {
        if self.stats.is_starved() {
            self.stats.set_starved(false);
        }
    }
}
