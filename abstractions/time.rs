// SPDX-License-Identifier: GPL-2.0

//! Times of the clock that stamps requests.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use super::bindings;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A time of `CLOCK_MONOTONIC`, in nanoseconds.
///
/// Like [`kernel::time::Instant`], but can be constructed from the start time of a request. Reading
/// the clock again would be a measurable part of the cost of a request.
///
/// # Examples
///
/// ```
/// use crate::abstractions::time::KtimeNs;
///
/// /// Returns whether more than a second has passed.
/// fn is_old(start: KtimeNs) -> bool {
///     KtimeNs::now().since(start) > 1_000_000_000
/// }
/// ```
#[derive(Clone, Copy)]
pub(crate) struct KtimeNs(u64);

impl KtimeNs {
    /// A time before all others.
    pub(crate) const PAST: Self = Self(0);

    /// Returns the current time (`ktime_get()`). Any context.
    pub(crate) fn now() -> Self {
        // SAFETY: Reads the clock; has no preconditions.
        Self(unsafe { bindings::ktime_get() }.unsigned_abs())
    }

    /// Converts a time in nanoseconds, such as
    /// [`start_time_ns`](super::block::mq::RequestRef::start_time_ns).
    pub(crate) fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Returns the time from `earlier` to this, in nanoseconds; 0 if `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time `ns` nanoseconds later.
    pub(crate) fn after(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Returns whether this is later than `other`.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.0 > other.0
    }
}

/// A [`KtimeNs`] that any context may read and replace.
pub(crate) struct AtomicKtimeNs(Atomic<u64>);

impl Default for AtomicKtimeNs {
    /// Returns a time before all others.
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl AtomicKtimeNs {
    /// Returns the time.
    pub(crate) fn get(&self) -> KtimeNs {
        KtimeNs(self.0.load(Relaxed))
    }

    /// Replaces the time.
    pub(crate) fn set(&self, time: KtimeNs) {
        self.0.store(time.0, Relaxed);
    }
}
