// SPDX-License-Identifier: GPL-2.0

//! Timers of the timer wheel, and its clock.
//!
//! C headers: [`include/linux/timer.h`](srctree/include/linux/timer.h),
//! [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use super::bindings;
use core::ops::Deref;
use kernel::{
    container_of,
    prelude::*,
    types::Opaque, //
};

pub(crate) use kernel::time::{
    msecs_to_jiffies,
    Jiffies, //
};

/// Returns the current time, which wraps around (`jiffies`). Any context.
pub(crate) fn jiffies() -> Jiffies {
    // SAFETY: Reads one word; has no preconditions.
    unsafe { bindings::rust_loop_helper_jiffies() }
}

/// Time in units of 1/HZ seconds that does not wrap around.
pub(crate) type Jiffies64 = u64;

/// Returns the current time, which does not wrap around (`get_jiffies_64()`). Any context.
pub(crate) fn jiffies64() -> Jiffies64 {
    // SAFETY: Has no preconditions.
    unsafe { bindings::rust_loop_helper_get_jiffies_64() }
}

/// Returns whether the current time is `then` or later (`time_after_eq()`). `then` must be less
/// than half of all jiffies away.
pub(crate) fn is_past(then: Jiffies) -> bool {
    jiffies().wrapping_sub(then) <= Jiffies::MAX / 2
}

/// Converts seconds to jiffies. Saturates at the infinite timeout of `msecs_to_jiffies()`.
pub(crate) fn secs_to_jiffies(secs: u32) -> Jiffies {
    msecs_to_jiffies(secs.saturating_mul(1000))
}

/// Converts jiffies to milliseconds.
pub(crate) fn jiffies_to_msecs(jiffies: Jiffies) -> u32 {
    // SAFETY: Pure arithmetic without preconditions.
    unsafe { bindings::rust_loop_helper_jiffies_to_msecs(jiffies) }
}

/// Data of a [`Timer`].
pub(crate) trait TimerCallback: Sized + Send + Sync + 'static {
    /// Whether the timer does not wake an idle CPU (`TIMER_DEFERRABLE`). It may then expire late.
    const DEFERRABLE: bool;

    /// Called in softirq context when the timer expires: must not sleep. May arm the timer again.
    fn expired(this: &Timer<Self>);
}

/// A timer with the data that its callback works on
/// ([`struct timer_list`](srctree/include/linux/timer.h)). It never expires early.
///
/// The timer wraps the data, unlike `HrTimer<T>`, which is a field. The callback has a reference to
/// the data without a reference count. As the wrapper drops the data after it has shut the timer
/// down, the callback never sees data of which a part has been dropped. A field could not ensure
/// that. A reference count would cost two atomic operations each time the timer is armed, and the
/// data could be dropped in softirq context.
///
/// # Invariants
///
/// - `timer` is initialised, and its function is `Self::callback`.
/// - It expires neither before `data` has been initialised nor after `data` has begun to drop.
///
/// # Examples
///
/// ```
/// use crate::abstractions::timer::{
///     msecs_to_jiffies,
///     Timer,
///     TimerCallback, //
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// struct Tick {
///     msecs: u32,
/// }
///
/// impl TimerCallback for Tick {
///     const DEFERRABLE: bool = true;
///
///     fn expired(this: &Timer<Self>) {
///         pr_info!("tick\n");
///         this.reduce_to(msecs_to_jiffies(this.msecs));
///     }
/// }
///
/// fn start() -> Result<Arc<Timer<Tick>>> {
///     let timer = Arc::pin_init(Timer::new(init!(Tick { msecs: 1000 })), GFP_KERNEL)?;
///     timer.reduce_to(msecs_to_jiffies(timer.msecs));
///     Ok(timer)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub(crate) struct Timer<T: TimerCallback> {
    #[pin]
    timer: Opaque<bindings::timer_list>,
    #[pin]
    data: T,
}

// SAFETY: A `struct timer_list` may be used from any thread, and `T` is `Send`.
unsafe impl<T: TimerCallback> Send for Timer<T> {}
// SAFETY: The lock of the timer serialises all methods, and `T` is `Sync`.
unsafe impl<T: TimerCallback> Sync for Timer<T> {}

impl<T: TimerCallback> Timer<T> {
    /// Wraps `data` with a timer that is not armed.
    pub(crate) fn new<E>(data: impl PinInit<T, E>) -> impl PinInit<Self, E>
    where
        E: From<core::convert::Infallible>,
    {
        // INVARIANT: The timer is set up here. It is armed through `&self` only, which exists after
        // the initialiser has succeeded.
        try_pin_init!(Self {
            data <- data,
            timer <- Opaque::ffi_init(|slot| {
                let flags = if T::DEFERRABLE {
                    bindings::RUST_LOOP_CONST_TIMER_DEFERRABLE
                } else {
                    0
                };
                // SAFETY: `slot` is valid for writes, and does not move since `Self` is pinned.
                unsafe {
                    bindings::rust_loop_helper_timer_setup(slot, Some(Self::callback), flags)
                }
            }),
        }? E)
    }

    /// Arms the timer to expire at `expires`, or at its present time if that is earlier
    /// (`timer_reduce()`). Any context.
    pub(crate) fn reduce(&self, expires: Jiffies) {
        // SAFETY: By the type invariant the timer is initialised. It is shut down before `self` is
        // dropped.
        unsafe { bindings::timer_reduce(self.timer.get(), expires) };
    }

    /// Arms the timer to expire after `delay`, or at its present time if that is earlier. Any
    /// context.
    pub(crate) fn reduce_to(&self, delay: Jiffies) {
        self.reduce(jiffies().wrapping_add(delay));
    }

    /// Stops the timer permanently (`timer_shutdown_sync()`). When this returns the callback is not
    /// running and will not run again, and arming has no effect. Process context.
    ///
    /// Waits for the callback, so the callback must not call it.
    pub(crate) fn shutdown(&self) {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::timer_shutdown_sync(self.timer.get()) };
    }

    /// Calls the callback of the data.
    ///
    /// # Safety
    ///
    /// Called by the timer core only, with the timer of a live `Self`.
    unsafe extern "C" fn callback(timer: *mut bindings::timer_list) {
        let timer: *mut Opaque<bindings::timer_list> = timer.cast();
        // SAFETY: By the caller's promise this is the `timer` field of a `Self`.
        let this = unsafe { container_of!(timer, Self, timer) };
        // SAFETY: The `Self` is alive, and its `drop` waits for this function to return.
        T::expired(unsafe { &*this });
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
        // INVARIANT: Afterwards the callback does not run, and the timer cannot be armed. `data` is
        // dropped after this function has returned.
        self.shutdown();
    }
}
