// SPDX-License-Identifier: GPL-2.0

//! Timers of the timer wheel.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use super::bindings;
use core::ops::Deref;
use kernel::{
    container_of,
    prelude::*,
    types::Opaque, //
};

/// Time in units of 1/HZ seconds, counted from boot and wrapping around.
pub(crate) type Jiffies = kernel::ffi::c_ulong;

/// Returns the present time.
pub(crate) fn jiffies() -> Jiffies {
    // SAFETY: Reads one word; has no preconditions.
    unsafe { bindings::rust_loop_helper_jiffies() }
}

/// Time in units of 1/HZ seconds, counted from boot. It does not wrap around.
pub(crate) type Jiffies64 = u64;

/// Returns the present time. Any context.
pub(crate) fn jiffies64() -> Jiffies64 {
    // SAFETY: Has no preconditions.
    unsafe { bindings::rust_loop_helper_get_jiffies_64() }
}

/// Returns whether it is `then` or later (`time_after_eq`), if `then` is less than half of
/// all jiffies away.
pub(crate) fn is_past(then: Jiffies) -> bool {
    jiffies().wrapping_sub(then) <= Jiffies::MAX / 2
}

/// Converts seconds to jiffies, saturating at what `msecs_to_jiffies` calls an
/// infinite timeout.
pub(crate) fn secs_to_jiffies(secs: u32) -> Jiffies {
    // SAFETY: Pure arithmetic; has no preconditions.
    unsafe { bindings::__msecs_to_jiffies(secs.saturating_mul(1000)) }
}

/// Converts milliseconds to jiffies, rounding up.
pub(crate) fn msecs_to_jiffies(msecs: u32) -> Jiffies {
    // SAFETY: Pure arithmetic; has no preconditions.
    unsafe { bindings::__msecs_to_jiffies(msecs) }
}

/// Converts jiffies to milliseconds.
pub(crate) fn jiffies_to_msecs(jiffies: Jiffies) -> u32 {
    // SAFETY: Pure arithmetic; has no preconditions.
    unsafe { bindings::rust_loop_helper_jiffies_to_msecs(jiffies) }
}

/// What happens when a [`Timer`] expires.
pub(crate) trait TimerCallback: Sized + Send + Sync + 'static {
    /// Whether the timer does not wake an idle CPU, so that it may expire later than asked
    /// for.
    const DEFERRABLE: bool;

    /// Called in softirq context: must not sleep. May arm the timer again.
    fn expired(this: &Timer<Self>);
}

/// A timer together with the data that its callback works on.
///
/// It never expires earlier than asked for.
///
/// # Invariants
///
/// `timer` is initialised and its function is `Self::callback`. It never
/// expires before `data` is initialised nor after `data` has begun to drop.
#[pin_data(PinnedDrop)]
pub(crate) struct Timer<T: TimerCallback> {
    #[pin]
    timer: Opaque<bindings::timer_list>,
    #[pin]
    data: T,
}

// SAFETY: `struct timer_list` may be used from any thread, and `T` is `Send`.
unsafe impl<T: TimerCallback> Send for Timer<T> {}
// SAFETY: All methods take `&self` and are serialised by the timer's own lock;
// `T` is `Sync`.
unsafe impl<T: TimerCallback> Sync for Timer<T> {}

impl<T: TimerCallback> Timer<T> {
    /// Wraps `data` with a timer that is not armed yet.
    pub(crate) fn new<E>(data: impl PinInit<T, E>) -> impl PinInit<Self, E>
    where
        E: From<core::convert::Infallible>,
    {
        // INVARIANT: The timer is set up here and can be armed only through
        // `&self`, which exists once the initialiser has succeeded.
        try_pin_init!(Self {
            data <- data,
            timer <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and stays where it is,
                // since `Self` is pinned.
                unsafe {
                    bindings::rust_loop_helper_timer_setup(
                        slot,
                        Some(Self::callback),
                        match T::DEFERRABLE {
                            true => bindings::RUST_LOOP_CONST_TIMER_DEFERRABLE,
                            false => 0,
                        },
                    )
                }
            }),
        }? E)
    }

    /// Makes the timer expire at `expires` or when it would have expired
    /// already, whichever is earlier. Any context.
    pub(crate) fn reduce(&self, expires: Jiffies) {
        // SAFETY: By the type invariant the timer is initialised. It is shut
        // down before `self` goes away.
        unsafe { bindings::timer_reduce(self.timer.get(), expires) };
    }

    /// Makes the timer expire in `delay` or when it would have expired already, whichever is
    /// earlier. Any context.
    pub(crate) fn reduce_to(&self, delay: Jiffies) {
        self.reduce(jiffies().wrapping_add(delay));
    }

    /// Stops the timer for good: when this returns the callback is not running
    /// and will not run again, and arming has no effect. Must not be called from
    /// the callback, which it waits for. Process context.
    pub(crate) fn shutdown(&self) {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::timer_shutdown_sync(self.timer.get()) };
    }

    /// # Safety
    ///
    /// Called by the timer core only, with the timer of a live `Self`.
    unsafe extern "C" fn callback(timer: *mut bindings::timer_list) {
        let timer: *mut Opaque<bindings::timer_list> = timer.cast();
        // SAFETY: By the type invariant this is the `timer` field of a live
        // `Self`, whose `drop` waits for us to return.
        T::expired(unsafe { &*container_of!(timer, Self, timer) });
    }
}

impl<T: TimerCallback> Deref for Timer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[pinned_drop]
impl<T: TimerCallback> PinnedDrop for Timer<T> {
    fn drop(self: Pin<&mut Self>) {
        // INVARIANT: After this the callback does not run and cannot be armed,
        // and only then is `data` dropped.
        self.shutdown();
    }
}
