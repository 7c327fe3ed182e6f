// SPDX-License-Identifier: GPL-2.0

//! The clock that the block layer stamps requests by.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use super::bindings;

/// A moment, in nanoseconds of `CLOCK_MONOTONIC`.
///
/// Like [`kernel::time::Instant`], but can come from a request, for to read the clock
/// costs as much as a good part of what the driver does for one.
#[derive(Clone, Copy)]
pub(crate) struct Nanos(u64);

impl Nanos {
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
}
