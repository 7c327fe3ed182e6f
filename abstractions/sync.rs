// SPDX-License-Identifier: GPL-2.0

//! Locks: a spinlock that is safe to take in interrupt context, and a mutex that
//! one need not wait for after being killed.
//!
//! C headers: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h),
//! [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use super::bindings;
use kernel::{
    ffi::{
        c_char,
        c_ulong, //
    },
    prelude::*,
    sync::lock::{
        mutex::MutexBackend,
        Backend,
        Guard,
        Lock, //
    },
};

/// A spinlock that disables interrupts of the local CPU while it is held.
///
/// May be taken in any context. Nothing may sleep under it.
///
/// The guards of two such locks must be dropped in the reverse order of their
/// taking: each restores the interrupt state that it found.
pub(crate) type SpinLockIrq<T> = Lock<T, SpinLockIrqBackend>;

/// Creates a [`SpinLockIrq`] with a lockdep class of its own.
macro_rules! new_spinlock_irq {
    ($inner:expr, $name:literal) => {
        $crate::abstractions::sync::SpinLockIrq::new(
            $inner,
            kernel::optional_name!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_irq;

/// The [`Backend`] of [`SpinLockIrq`]: `spin_lock_irqsave` and its inverse.
pub(crate) struct SpinLockIrqBackend;

// SAFETY: The C side provides mutual exclusion; `lock` and `try_lock` return
// with the lock held, and `unlock` is given the state that they returned.
unsafe impl Backend for SpinLockIrqBackend {
    type State = bindings::spinlock_t;
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The caller guarantees that `ptr` is valid for writes, and
        // that `name` and `key` live as long as the lock.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The caller guarantees that `ptr` was initialised by `init`.
        unsafe { bindings::rust_loop_helper_spin_lock_irqsave(ptr) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: The caller guarantees that `ptr` was initialised by `init`.
        unsafe { bindings::rust_loop_helper_spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: The caller guarantees that the lock is held and that
        // `guard_state` is what taking it returned.
        unsafe { bindings::rust_loop_helper_spin_unlock_irqrestore(ptr, *guard_state) }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The caller guarantees that `ptr` was initialised by `init`.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}

/// A mutex, to be taken with [`LockKillable::lock_killable`] on behalf of a user
/// and with `lock` where there is no way to fail. Process context.
pub(crate) type KillableMutex<T> = Lock<T, KillableMutexBackend>;

/// While it lives, a [`KillableMutex`] is locked.
pub(crate) type KillableMutexGuard<'a, T> = Guard<'a, T, KillableMutexBackend>;

/// Creates a [`KillableMutex`] with a lockdep class of its own.
macro_rules! new_killable_mutex {
    ($inner:expr, $name:literal) => {
        $crate::abstractions::sync::KillableMutex::new(
            $inner,
            kernel::optional_name!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_killable_mutex;

/// To wait for a lock until one is killed.
pub(crate) trait LockKillable<T> {
    /// Takes the lock. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINTR` if the current task is killed while it waits.
    fn lock_killable(&self) -> Result<Guard<'_, T, KillableMutexBackend>>;
}

impl<T> LockKillable<T> for KillableMutex<T> {
    fn lock_killable(&self) -> Result<Guard<'_, T, KillableMutexBackend>> {
        self.try_lock().ok_or(EINTR)
    }
}

/// The [`Backend`] of [`KillableMutex`]: a mutex whose `try_lock` waits, and
/// gives up only when the task is killed.
pub(crate) struct KillableMutexBackend;

// SAFETY: That of `MutexBackend`. What `try_lock` does instead returns with the
// mutex held if it returns 0, and only then is `Some` returned.
unsafe impl Backend for KillableMutexBackend {
    type State = <MutexBackend as Backend>::State;
    type GuardState = <MutexBackend as Backend>::GuardState;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: The requirements are the same.
        unsafe { MutexBackend::init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The requirements are the same.
        unsafe { MutexBackend::lock(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        // SAFETY: The caller guarantees that `ptr` was initialised by `init`.
        (unsafe { bindings::rust_loop_helper_mutex_lock_killable(ptr) } == 0).then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
        // SAFETY: The requirements are the same.
        unsafe { MutexBackend::unlock(ptr, guard_state) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The requirements are the same.
        unsafe { MutexBackend::assert_is_held(ptr) }
    }
}
