// SPDX-License-Identifier: GPL-2.0

//! Locks: a spinlock that is safe to take in interrupt context, and waiting for a mutex
//! until the task is killed.
//!
//! C headers: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h),
//! [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use super::bindings;
use kernel::{
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Backend,
            Guard,
            Lock, //
        },
        LockClassKey,
        LockedBy,
        Mutex, //
    },
};

/// A spinlock that disables interrupts of the local CPU while it is held
/// (`spin_lock_irqsave`).
///
/// May be taken in any context. Nothing may sleep under it.
///
/// There is no guard, but a function that is called with the lock held. Two guards could be
/// dropped in the order in which they were made, and then each would restore the interrupt
/// state of the other one. Calls cannot end in that order.
///
/// # Examples
///
/// ```ignore
/// let taken = lock.with(|queue| queue.pop_front());
/// ```
#[pin_data]
pub(crate) struct SpinLockIrq<T> {
    #[pin]
    lock: Lock<T, SpinLockIrqBackend>,
}

impl<T: Unpin> SpinLockIrq<T> {
    /// Creates a lock around `data`, see [`new_spinlock_irq`].
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- Lock::new(data, name, key),
        })
    }

    /// Calls `f` with the lock held. Any context; `f` must not sleep.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.lock.lock())
    }

    /// Returns `data` that the lock protects as well, but that are elsewhere. The data that
    /// [`Self::with`] gives access to are the key to them.
    pub(crate) fn locked_by<U>(&self, data: U) -> LockedBy<U, T> {
        LockedBy::new(&self.lock, data)
    }
}

/// The backend of [`SpinLockIrq`].
struct SpinLockIrqBackend;

// SAFETY: `spin_lock_irqsave()` is a lock. There is no way to take it but this one.
unsafe impl Backend for SpinLockIrqBackend {
    type State = bindings::spinlock_t;
    /// The interrupt state before the lock was taken.
    type GuardState = kernel::ffi::c_ulong;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: The caller guarantees that `ptr` is valid for writes, and that `name` and
        // `key` are valid for as long as the lock is.
        unsafe { bindings::__spin_lock_init(ptr, name, key) };
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The caller guarantees that the lock is initialised.
        unsafe { bindings::rust_loop_helper_spin_lock_irqsave(ptr) }
    }

    unsafe fn try_lock(_ptr: *mut Self::State) -> Option<Self::GuardState> {
        None
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: The caller guarantees that it has taken the lock, which has returned `flags`.
        // Guards are dropped in the reverse order, as `SpinLockIrq` does not give them away.
        unsafe { bindings::rust_loop_helper_spin_unlock_irqrestore(ptr, *flags) };
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The caller guarantees that the lock is initialised.
        unsafe { bindings::rust_loop_helper_spin_assert_is_held(ptr) };
    }
}

/// Creates a [`SpinLockIrq`] with a lockdep class of its own.
macro_rules! new_spinlock_irq {
    ($inner:expr, $name:literal) => {
        $crate::abstractions::sync::SpinLockIrq::new(
            $inner,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_irq;

/// Waiting for a mutex until the task is killed (`mutex_lock_killable`).
pub(crate) trait LockKillable<T> {
    /// Takes the lock. Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `EINTR` if the current task is killed while it waits.
    fn lock_killable(&self) -> Result<Guard<'_, T, MutexBackend>>;
}

impl<T> LockKillable<T> for Mutex<T> {
    fn lock_killable(&self) -> Result<Guard<'_, T, MutexBackend>> {
        // `Lock` is `repr(C)` and begins with the state of its backend, which
        // `Lock::from_raw()` relies on as well. For `MutexBackend` that is a `struct mutex`.
        let mutex = core::ptr::from_ref(self)
            .cast::<bindings::mutex>()
            .cast_mut();
        // SAFETY: The mutex is initialised, as there is a reference to the `Mutex`.
        if unsafe { bindings::rust_loop_helper_mutex_lock_killable(mutex) } != 0 {
            return Err(EINTR);
        }
        // SAFETY: The lock has just been taken, and is owned by the caller.
        Ok(unsafe { Guard::new(self, ()) })
    }
}
