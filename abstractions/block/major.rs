// SPDX-License-Identifier: GPL-2.0

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::bindings;
use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable, //
};

/// A driver that makes devices when somebody opens a node of one that does not
/// exist (`CONFIG_BLOCK_LEGACY_AUTOLOAD`).
pub(crate) trait ProbeOperations: Send + Sync + Sized + 'static {
    /// Where the driver can be found; one static for each.
    fn slot() -> &'static ProbeSlot<Self>;

    /// Somebody opens the device with this minor number. Process context, with a
    /// lock of the block layer held under which all majors are registered.
    fn probe(this: ArcBorrow<'_, Self>, minor: u32);
}

/// Where [`ProbeOperations::probe`] finds its driver.
///
/// # Invariants
///
/// What is not null comes from `Arc::into_foreign` and is taken away only once
/// nothing can be probed any more.
pub(crate) struct ProbeSlot<T>(Atomic<*mut T>);

// SAFETY: It is a shared reference to a `T`, counted.
unsafe impl<T: Send + Sync> Sync for ProbeSlot<T> {}

impl<T> ProbeSlot<T> {
    /// Creates an empty one.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(ptr::null_mut()))
    }
}

/// A major number that belongs to the driver while this lives.
///
/// # Invariants
///
/// `major` is registered under `name`, with our probe function.
pub(crate) struct BlockMajor<T: ProbeOperations> {
    major: u32,
    name: &'static CStr,
    _p: core::marker::PhantomData<Arc<T>>,
}

impl<T: ProbeOperations> BlockMajor<T> {
    /// Registers a major number, or one that is free. `name` appears in
    /// `/proc/devices`. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has the number.
    pub(crate) fn register(major: Option<u32>, name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a NUL-terminated string.
        let ret = unsafe {
            bindings::__register_blkdev(
                major.unwrap_or(0),
                name.as_char_ptr(),
                Some(Self::probe_callback),
            )
        };
        let free = u32::try_from(ret).map_err(|_| Error::from_errno(ret))?;
        // INVARIANT: Success is 0 for a number that was given, else the number.
        Ok(Self {
            major: major.unwrap_or(free),
            name,
            _p: core::marker::PhantomData,
        })
    }

    /// Returns the number.
    pub(crate) fn number(&self) -> u32 {
        self.major
    }

    /// From now on `driver` makes devices when they are asked for. Called once.
    pub(crate) fn enable_probe(&self, driver: Arc<T>) {
        let old = T::slot().0.load(Acquire);
        if old.is_null() {
            T::slot().0.store(driver.into_foreign().cast(), Release);
        }
    }

    /// # Safety
    ///
    /// Called by the block layer only, between registration and its end.
    unsafe extern "C" fn probe_callback(dev: bindings::dev_t) {
        let driver = T::slot().0.load(Acquire);
        if driver.is_null() {
            return;
        }
        // SAFETY: By the invariant of the slot this comes from `into_foreign`, and
        // is not taken away while the block layer may call us.
        let driver = unsafe { <Arc<T> as ForeignOwnable>::borrow(driver.cast()) };
        T::probe(driver, dev & ((1 << bindings::MINORBITS) - 1));
    }
}

impl<T: ProbeOperations> Drop for BlockMajor<T> {
    /// Waits for a probe under way. Sleeps.
    fn drop(&mut self) {
        // SAFETY: By the type invariant the number is ours. This takes the lock
        // under which we are called, so nobody is in `probe_callback` afterwards.
        unsafe { bindings::unregister_blkdev(self.major, self.name.as_char_ptr()) };
        let driver = T::slot().0.load(Acquire);
        T::slot().0.store(ptr::null_mut(), Release);
        if !driver.is_null() {
            // SAFETY: By the invariant of the slot this comes from `into_foreign`;
            // it has been taken away just now.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(driver.cast()) });
        }
    }
}
