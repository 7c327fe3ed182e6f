// SPDX-License-Identifier: GPL-2.0

//! The clock that the block layer stamps requests by.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use super::bindings;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A moment, in nanoseconds of `CLOCK_MONOTONIC`.
///
/// Like [`kernel::time::Instant`], but can come from a request, for to read the clock
/// costs as much as a good part of what the driver does for one.
#[derive(Clone, Copy)]
pub(crate) struct Nanos(u64);

impl Nanos {
    /// A moment before all others.
    pub(crate) const PAST: Self = Self(0);

    /// Returns the present. Any context.
    pub(crate) fn now() -> Self {
        // SAFETY: Reads the clock; has no preconditions.
        Self(unsafe { bindings::ktime_get() }.unsigned_abs())
    }

    /// Returns what the block layer calls `ns`.
    pub(super) fn from_block(ns: u64) -> Self {
        Self(ns)
    }

    /// Returns for how long this is after `earlier`, in nanoseconds.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the moment `ns` nanoseconds later.
    pub(crate) fn after(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Returns whether this is later than `other`.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.0 > other.0
    }
}

/// A moment that is replaced by another now and then, in any context.
pub(crate) struct LastNanos(Atomic<u64>);

impl Default for LastNanos {
    /// Returns a moment in the past.
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl LastNanos {
    /// Returns the moment.
    pub(crate) fn get(&self) -> Nanos {
        Nanos(self.0.load(Relaxed))
    }

    /// Replaces the moment.
    pub(crate) fn set(&self, moment: Nanos) {
        self.0.store(moment.0, Relaxed);
    }
}
