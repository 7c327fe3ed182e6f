// SPDX-License-Identifier: GPL-2.0

//! What has been done, and how long it took.

use crate::abstractions::{
    block::mq::{
        BlkStatus,
        Op, //
    },
    task::TaskMark,
    time::{
        LastNanos,
        Nanos, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    }, //
};

/// For how long commands write back what is dirty before they write more, in nanoseconds,
/// after their cgroup was out of memory for that.
const TIGHT_NANOS: u64 = 10_000_000_000;

/// Counters of one worker. Read and written in any context, without locks.
pub(crate) struct Stats {
    completed: Counter,
    read: Counter,
    written: Counter,
    errors: Counter,
    wait_ns: Counter,
    run_ns: Counter,
    deferred: Counter,
    retries: Counter,
    reserve: Counter,
    /// How many commands the backing file was given and have not ended.
    pending: Atomic<i32>,
    /// Whether commands fail at once if there is no memory.
    starved: Atomic<bool>,
    /// When a command has failed since its cgroup was out of memory, if none has succeeded
    /// since.
    cgroup_oom: LastNanos,
    /// Until when commands write back what is dirty before they write more.
    tight_until: LastNanos,
    /// The worker, while devices get from it what it has submitted.
    unplugging: TaskMark,
}

/// What [`Stats`] were at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Commands that have been executed.
    pub(crate) completed: u64,
    /// What has been read without error, in bytes.
    pub(crate) read: u64,
    /// What has been written without error, in bytes.
    pub(crate) written: u64,
    /// Commands that have failed.
    pub(crate) errors: u64,
    /// How long commands have waited for the worker, in nanoseconds.
    pub(crate) wait_ns: u64,
    /// How long they were executed, in nanoseconds.
    pub(crate) run_ns: u64,
    /// Commands that the file has ended but that were not done.
    pub(crate) deferred: u64,
    /// How often something was tried again for want of memory.
    pub(crate) retries: u64,
    /// How many writes used the memory reserves.
    pub(crate) reserve: u64,
}

impl Stats {
    /// Returns counters that have counted nothing.
    pub(crate) fn new() -> Self {
        Self {
            completed: Counter::default(),
            read: Counter::default(),
            written: Counter::default(),
            errors: Counter::default(),
            wait_ns: Counter::default(),
            run_ns: Counter::default(),
            deferred: Counter::default(),
            retries: Counter::default(),
            reserve: Counter::default(),
            pending: Atomic::new(0),
            starved: Atomic::new(false),
            cgroup_oom: LastNanos::default(),
            tight_until: LastNanos::default(),
            unplugging: TaskMark::new(),
        }
    }

    /// Returns the mark of the worker while devices get from it what it has submitted.
    pub(crate) fn unplugging(&self) -> &TaskMark {
        &self.unplugging
    }

    /// Accounts for a command that is given to the backing file.
    pub(super) fn submitted(&self) {
        self.pending.fetch_add(1, Relaxed);
    }

    /// Accounts for one of these that is about to end.
    pub(super) fn returned(&self) {
        // Who finds that none is pending finds all that was accounted for.
        self.pending.fetch_sub(1, Release);
    }

    /// Accounts for a command that the file has ended but that is not done.
    pub(super) fn deferred(&self) {
        self.deferred.add(1);
    }

    /// Accounts for another attempt.
    pub(super) fn retried(&self) {
        self.retries.add(1);
    }

    /// Accounts for a write that uses the memory reserves.
    pub(super) fn used_reserve(&self) {
        self.reserve.add(1);
    }

    /// Returns how many commands the backing file was given and have not ended.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.load(Acquire).unsigned_abs()
    }

    /// Returns whether the last command that waited for memory has waited in vain.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.load(Relaxed)
    }

    /// Notes that commands are to fail at once if there is no memory, until one succeeds.
    pub(super) fn set_starved(&self) {
        self.starved.store(true, Relaxed);
    }

    /// Returns whether a command that came at `came` was waiting when another one found the
    /// cgroup out of memory, with no success since.
    pub(super) fn was_cgroup_oom_after(&self, came: Nanos) -> bool {
        self.cgroup_oom.get().is_after(came)
    }

    /// Notes that a command has found its cgroup out of memory.
    pub(super) fn set_cgroup_oom(&self) {
        self.cgroup_oom.set(Nanos::now());
    }

    /// Returns whether the cgroup was out of memory a short time ago, but for what has been
    /// written back then.
    pub(super) fn is_tight(&self) -> bool {
        let until = self.tight_until.get();
        until.is_after(Nanos::PAST) && until.is_after(Nanos::now())
    }

    /// Notes that the cgroup is out of memory, but for what is about to be written back.
    pub(super) fn set_tight(&self) {
        self.tight_until.set(Nanos::now().after(TIGHT_NANOS));
    }

    /// Notes that a command, or part of it, has had the memory that it needed.
    pub(super) fn succeeded(&self) {
        if self.is_starved() {
            self.starved.store(false, Relaxed);
        }
        if self.was_cgroup_oom_after(Nanos::PAST) {
            self.cgroup_oom.set(Nanos::PAST);
        }
    }

    /// Accounts for a command that is about to end, having waited and been executed for
    /// so many nanoseconds.
    pub(super) fn account(&self, op: Op, bytes: u32, status: BlkStatus, waited: u64, ran: u64) {
        self.completed.add(1);
        match (status == BlkStatus::OK, op) {
            (true, Op::Read) => self.read.add(bytes.into()),
            (true, Op::Write) => self.written.add(bytes.into()),
            (true, _) => (),
            // An answer to the block layer, which then does without.
            (false, _) if status == BlkStatus::NOTSUPP => (),
            (false, _) => self.errors.add(1),
        }
        self.wait_ns.add(waited);
        self.run_ns.add(ran);
    }

    /// Returns what they are now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            completed: self.completed.get(),
            read: self.read.get(),
            written: self.written.get(),
            errors: self.errors.get(),
            wait_ns: self.wait_ns.get(),
            run_ns: self.run_ns.get(),
            deferred: self.deferred.get(),
            retries: self.retries.get(),
            reserve: self.reserve.get(),
        }
    }
}

impl Totals {
    /// Adds what others were. They wrap, as the counters of workers do: of commands that
    /// wait at the same time each has its own nanoseconds, so those may come to an end.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, other) in [
            (&mut self.completed, other.completed),
            (&mut self.read, other.read),
            (&mut self.written, other.written),
            (&mut self.errors, other.errors),
            (&mut self.wait_ns, other.wait_ns),
            (&mut self.run_ns, other.run_ns),
            (&mut self.deferred, other.deferred),
            (&mut self.retries, other.retries),
            (&mut self.reserve, other.reserve),
        ] {
            *sum = sum.wrapping_add(other);
        }
    }
}

struct Counter(Atomic<u64>);

impl Default for Counter {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Counter {
    fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[kunit_tests(rust_loop_stats)]
mod tests {
    use super::*;

    #[test]
    fn totals_wrap() {
        let mut totals = Totals {
            run_ns: u64::MAX,
            completed: 1,
            ..Totals::default()
        };
        totals.add(&Totals {
            run_ns: 2,
            completed: 3,
            ..Totals::default()
        });
        assert_eq!(totals.run_ns, 1);
        assert_eq!(totals.completed, 4);
    }
}
