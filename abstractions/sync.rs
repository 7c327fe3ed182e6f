// SPDX-License-Identifier: GPL-2.0

//! Locks: a spinlock that disables interrupts, and killable waiting for a mutex.
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
/// (`spin_lock_irqsave()`).
///
/// May be taken in any context. Code that holds it must not sleep.
///
/// Linux 7.3 has `kernel::sync::SpinLockIrq`, 7.2 has none. This one has no guard, but calls a
/// function with the lock held. Two guards could be dropped in the order in which they were created,
/// and each would restore the interrupt state of the other one. Calls cannot end in that order.
///
/// # Examples
///
/// ```
/// use crate::abstractions::sync::{
///     new_spinlock_irq,
///     SpinLockIrq, //
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// fn create() -> Result<Arc<SpinLockIrq<u32>>> {
///     Arc::pin_init(new_spinlock_irq!(0, "example"), GFP_KERNEL)
/// }
///
/// /// Increments the number that the lock protects, and returns it.
/// fn next(lock: &SpinLockIrq<u32>) -> u32 {
///     lock.with(|number| {
///         *number += 1;
///         *number
///     })
/// }
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

    /// Returns a wrapper for `data` that the lock protects, too, but that are stored elsewhere. The
    /// reference that [`Self::with`] passes gives access to them.
    pub(crate) fn locked_by<U>(&self, data: U) -> LockedBy<U, T> {
        LockedBy::new(&self.lock, data)
    }
}

/// Backend of [`SpinLockIrq`].
struct SpinLockIrqBackend;

// SAFETY: `spin_lock_irqsave()` excludes all other owners. The lock is taken here only.
unsafe impl Backend for SpinLockIrqBackend {
    type State = bindings::spinlock_t;
    /// Interrupt state before the lock was taken.
    type GuardState = kernel::ffi::c_ulong;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: By the caller's promise `ptr` is valid for writes, and `name` and `key` are valid
        // as long as the lock.
        unsafe { bindings::__spin_lock_init(ptr, name, key) };
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By the caller's promise the lock is initialised.
        unsafe { bindings::rust_loop_helper_spin_lock_irqsave(ptr) }
    }

    unsafe fn try_lock(_ptr: *mut Self::State) -> Option<Self::GuardState> {
        None
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: By the caller's promise it has taken the lock, with `flags` as the result.
        // `SpinLockIrq` drops guards in reverse order, because it does not hand them out.
        unsafe { bindings::rust_loop_helper_spin_unlock_irqrestore(ptr, *flags) };
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the caller's promise the lock is initialised.
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

/// Extension of [`Mutex`]: waiting that ends when the task is killed.
///
/// # Examples
///
/// ```
/// use crate::abstractions::sync::LockKillable as _;
/// use kernel::{
///     prelude::*,
///     sync::Mutex, //
/// };
///
/// fn read(mutex: &Mutex<u32>) -> Result<u32> {
///     Ok(*mutex.lock_killable()?)
/// }
/// ```
pub(crate) trait LockKillable<T> {
    /// Takes the lock (`mutex_lock_killable()`). Process context, sleeps.
    ///
    /// # Errors
    ///
    /// `EINTR` if the current task is killed while it waits.
    fn lock_killable(&self) -> Result<Guard<'_, T, MutexBackend>>;
}

impl<T> LockKillable<T> for Mutex<T> {
    fn lock_killable(&self) -> Result<Guard<'_, T, MutexBackend>> {
        // `Lock` is `repr(C)` and begins with the state of its backend, on which `Lock::from_raw()`
        // relies as well. The state of `MutexBackend` is a `struct mutex`.
        let mutex = core::ptr::from_ref(self)
            .cast::<bindings::mutex>()
            .cast_mut();
        // SAFETY: There is a reference to the `Mutex`, so its state is initialised.
        if unsafe { bindings::rust_loop_helper_mutex_lock_killable(mutex) } != 0 {
            return Err(EINTR);
        }
        // SAFETY: The lock has just been taken by the current task.
        Ok(unsafe { Guard::new(self, ()) })
    }
}
