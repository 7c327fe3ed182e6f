// SPDX-License-Identifier: GPL-2.0

//! Locks: a spinlock that is safe to take in interrupt context, and waiting for a mutex
//! until the task is killed.
//!
//! C headers: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h),
//! [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use super::bindings;
use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        LockClassKey,
        Mutex, //
    },
    types::Opaque, //
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
    lock: Opaque<bindings::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: The data goes with the lock, and a spinlock may be moved to another thread while
// no thread holds it.
unsafe impl<T: Send> Send for SpinLockIrq<T> {}
// SAFETY: The lock lets one thread at a time have the data.
unsafe impl<T: Send> Sync for SpinLockIrq<T> {}

impl<T> SpinLockIrq<T> {
    /// Creates a lock around `data`, see [`new_spinlock_irq`].
    pub(crate) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            data: UnsafeCell::new(data),
            lock <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and stays where it is. `name` and
                // `key` are static.
                unsafe { bindings::__spin_lock_init(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Calls `f` with the lock held. Any context; `f` must not sleep.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: The lock was initialised by `new`, and `self` is pinned since.
        let flags = unsafe { bindings::rust_loop_helper_spin_lock_irqsave(self.lock.get()) };
        // SAFETY: The lock is held until after `f` has returned, which cannot keep the
        // reference. A caller that takes the lock in `f` again spins for ever, as with
        // `kernel::sync::SpinLock`.
        let ret = f(unsafe { &mut *self.data.get() });
        // SAFETY: The lock was taken above, which returned `flags`. What `f` has locked
        // it has unlocked, so the interrupt state is that of then.
        unsafe { bindings::rust_loop_helper_spin_unlock_irqrestore(self.lock.get(), flags) };
        ret
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
