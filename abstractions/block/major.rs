// SPDX-License-Identifier: GPL-2.0

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::abstractions::bindings;
use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
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
/// A pointer that is not null comes from `Arc::into_foreign`. It is released only after the
/// slot has been emptied and the lock of the block layer, under which all drivers are
/// probed, has been taken since: then no probe uses it. This holds for any number of majors
/// that share a slot.
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
    /// `EBUSY` if another driver has the number, `EINVAL` for 0, which is none.
    pub(crate) fn register(major: Option<u32>, name: &'static CStr) -> Result<Self> {
        if major == Some(0) {
            return Err(EINVAL);
        }
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

    /// Lets `driver` make devices when they are asked for, unless a driver does so already.
    pub(crate) fn enable_probe(&self, driver: Arc<T>) {
        let driver = driver.into_foreign().cast();
        if T::slot().0.cmpxchg(ptr::null_mut(), driver, Full).is_err() {
            // SAFETY: It comes from `into_foreign`, and is in no slot.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(driver.cast()) });
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
        let driver = T::slot().0.xchg(ptr::null_mut(), Full);
        // SAFETY: By the type invariant the number is ours. This takes the lock
        // under which we are called, so no probe that has found the driver is
        // under way afterwards.
        unsafe { bindings::unregister_blkdev(self.major, self.name.as_char_ptr()) };
        if !driver.is_null() {
            // SAFETY: By the invariant of the slot this comes from `into_foreign`. It has
            // been taken away above, and no probe uses it any more.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(driver.cast()) });
        }
    }
}
