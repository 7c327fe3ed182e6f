// SPDX-License-Identifier: GPL-2.0

//! What has been done, and how long it took.

use crate::abstractions::block::mq::{
    BlkStatus,
    Op, //
};
use kernel::{
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::Delta, //
};

/// Counters of one worker. Read and written in any context, without locks.
#[derive(Default)]
pub(crate) struct Stats {
    completed: Counter,
    read: Counter,
    written: Counter,
    errors: Counter,
    waiting: Counter,
    running: Counter,
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
    pub(crate) waiting: u64,
    /// How long they were executed, in nanoseconds.
    pub(crate) running: u64,
}

impl Stats {
    /// Accounts for a command that is about to end.
    pub(super) fn account(&self, op: Op, bytes: u32, status: BlkStatus, waited: Delta, ran: Delta) {
        self.completed.add(1);
        match (status == BlkStatus::OK, op) {
            (true, Op::Read) => self.read.add(bytes.into()),
            (true, Op::Write) => self.written.add(bytes.into()),
            (true, _) => (),
            // An answer to the block layer, which then does without.
            (false, _) if status == BlkStatus::NOTSUPP => (),
            (false, _) => self.errors.add(1),
        }
        self.waiting.add(waited.as_nanos().unsigned_abs());
        self.running.add(ran.as_nanos().unsigned_abs());
    }

    /// Returns what they are now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            completed: self.completed.get(),
            read: self.read.get(),
            written: self.written.get(),
            errors: self.errors.get(),
            waiting: self.waiting.get(),
            running: self.running.get(),
        }
    }
}

impl Totals {
    /// Adds what others were.
    pub(crate) fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.read += other.read;
        self.written += other.written;
        self.errors += other.errors;
        self.waiting += other.waiting;
        self.running += other.running;
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
