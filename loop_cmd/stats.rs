// SPDX-License-Identifier: GPL-2.0

//! Statistics of a worker: its commands, and the time that they took.

use crate::abstractions::block::mq::{
    BlkStatus,
    Op, //
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
    /// The number of commands whose direct I/O is in flight.
    inflight: Atomic<i32>,
}

/// The values of [`Stats`] at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct StatsSnapshot {
    /// Completed commands.
    pub(crate) completed: u64,
    /// Bytes that were read by commands that succeeded.
    pub(crate) read: u64,
    /// Bytes that were written by commands that succeeded.
    pub(crate) written: u64,
    /// Failed commands.
    pub(crate) errors: u64,
    /// Time from the allocation of the request until the worker dequeued it, in nanoseconds.
    pub(crate) wait_ns: u64,
    /// Time from then until completion, in nanoseconds.
    pub(crate) run_ns: u64,
    /// Commands whose direct I/O was finished in process context.
    pub(crate) deferred: u64,
    /// Attempts that were repeated after a lack of memory.
    pub(crate) retries: u64,
    /// Writes that used the memory reserves.
    pub(crate) reserve: u64,
}

impl Stats {
    /// Returns counters at zero.
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
            inflight: Atomic::new(0),
        }
    }

    /// Accounts for direct I/O that is about to be submitted.
    pub(super) fn inc_inflight(&self) {
        self.inflight.fetch_add(1, Relaxed);
    }

    /// Accounts for the end of direct I/O.
    pub(super) fn dec_inflight(&self) {
        // A reader that sees no I/O in flight also sees the counters of all completed I/O.
        self.inflight.fetch_sub(1, Release);
    }

    /// Accounts for direct I/O that is finished in process context.
    pub(super) fn deferred(&self) {
        self.deferred.add(1);
    }

    /// Accounts for another attempt.
    pub(super) fn retried(&self) {
        self.retries.add(1);
    }

    /// Accounts for a write that used the memory reserves.
    pub(super) fn used_reserve(&self) {
        self.reserve.add(1);
    }

    /// Returns the number of commands whose direct I/O is in flight.
    pub(crate) fn inflight(&self) -> u32 {
        self.inflight.load(Acquire).unsigned_abs()
    }

    /// Accounts for a command that is about to end. `waited` and `ran` are in nanoseconds.
    pub(super) fn record(&self, op: Op, bytes: u32, status: BlkStatus, waited: u64, ran: u64) {
        self.completed.add(1);
        match (status == BlkStatus::OK, op) {
            (true, Op::Read) => self.read.add(bytes.into()),
            (true, Op::Write) => self.written.add(bytes.into()),
            (true, _) => (),
            // Not an error: the block layer does not use the operation any more.
            (false, _) if status == BlkStatus::NOTSUPP => (),
            (false, _) => self.errors.add(1),
        }
        self.wait_ns.add(waited);
        self.run_ns.add(ran);
    }

    /// Returns the current values.
    pub(crate) fn snapshot(&self) -> StatsSnapshot {
        StatsSnapshot {
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

impl StatsSnapshot {
    /// Adds other values. The sums wrap like the counters. Counters of nanoseconds may overflow,
    /// because commands that wait at the same time all add their own time.
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
        let mut totals = StatsSnapshot {
            run_ns: u64::MAX,
            completed: 1,
            ..StatsSnapshot::default()
        };
        totals.add(&StatsSnapshot {
            run_ns: 2,
            completed: 3,
            ..StatsSnapshot::default()
        });
        assert_eq!(totals.run_ns, 1);
        assert_eq!(totals.completed, 4);
    }
}
