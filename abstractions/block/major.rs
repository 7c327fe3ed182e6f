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

/// A driver that creates a device when the node of a missing one is opened
/// (`CONFIG_BLOCK_LEGACY_AUTOLOAD`).
pub(crate) trait ProbeOperations: Send + Sync + Sized + 'static {
    /// Returns the slot of the driver. Each driver must have exactly one static.
    fn slot() -> &'static ProbeSlot<Self>;

    /// Called when the node of a missing device is opened. Process context, with the lock of the
    /// block layer held under which majors are registered.
    fn probe(this: ArcBorrow<'_, Self>, minor: u32);
}

/// Place of the driver whose [`ProbeOperations::probe`] is called.
///
/// # Invariants
///
/// A pointer that is not null comes from `Arc::into_foreign`. It is released after two steps, so
/// that no probe uses it any more:
///
/// 1. The slot is emptied.
/// 2. The lock of the block layer under which drivers are probed is taken and released.
///
/// This holds for any number of majors that share a slot.
pub(crate) struct ProbeSlot<T>(Atomic<*mut T>);

// SAFETY: The pointer is a counted shared reference to a `T`.
unsafe impl<T: Send + Sync> Sync for ProbeSlot<T> {}

impl<T> ProbeSlot<T> {
    /// Creates an empty slot.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(ptr::null_mut()))
    }
}

/// A major number that belongs to the driver while this lives (`register_blkdev()`).
///
/// # Invariants
///
/// `major` is registered under `name`, with `Self::probe_callback`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::major::{
///     BlockMajor,
///     ProbeOperations,
///     ProbeSlot, //
/// };
/// use kernel::{
///     prelude::*,
///     sync::{
///         Arc,
///         ArcBorrow, //
///     },
/// };
///
/// struct Driver;
///
/// impl ProbeOperations for Driver {
///     fn slot() -> &'static ProbeSlot<Self> {
///         static SLOT: ProbeSlot<Driver> = ProbeSlot::new();
///         &SLOT
///     }
///
///     fn probe(_this: ArcBorrow<'_, Self>, minor: u32) {
///         pr_info!("no device {minor}\n");
///     }
/// }
///
/// fn register() -> Result<BlockMajor<Driver>> {
///     let major = BlockMajor::register(None, c"example")?;
///     major.enable_probe(Arc::new(Driver, GFP_KERNEL)?);
///     Ok(major)
/// }
/// ```
pub(crate) struct BlockMajor<T: ProbeOperations> {
    major: u32,
    name: &'static CStr,
    _p: core::marker::PhantomData<Arc<T>>,
}

impl<T: ProbeOperations> BlockMajor<T> {
    /// Registers the given major number, or a free one. `name` appears in `/proc/devices`. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if another driver has the number;
    /// - `EINVAL` for 0, which is not a number.
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
        // INVARIANT: On success the result is 0 for a given number, else the number.
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

    /// Calls [`ProbeOperations::probe`] of `driver` from now on, unless the slot has a driver.
    pub(crate) fn enable_probe(&self, driver: Arc<T>) {
        let driver = driver.into_foreign().cast();
        if T::slot().0.cmpxchg(ptr::null_mut(), driver, Full).is_err() {
            // SAFETY: The pointer comes from `into_foreign`, and is in no slot.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(driver.cast()) });
        }
    }

    /// Passes a probe to the driver.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, while the major is registered.
    unsafe extern "C" fn probe_callback(dev: bindings::dev_t) {
        let driver = T::slot().0.load(Acquire);
        if driver.is_null() {
            return;
        }
        // SAFETY: By the invariant of the slot the pointer comes from `into_foreign`, and is not
        // released during this call.
        let driver = unsafe { <Arc<T> as ForeignOwnable>::borrow(driver.cast()) };
        T::probe(driver, dev & ((1 << bindings::MINORBITS) - 1));
    }
}

impl<T: ProbeOperations> Drop for BlockMajor<T> {
    /// Waits for a running probe. Sleeps.
    fn drop(&mut self) {
        let driver = T::slot().0.xchg(ptr::null_mut(), Full);
        // This takes the lock under which drivers are probed. Afterwards no probe is running that
        // has found the driver in the slot.
        //
        // SAFETY: By the type invariant the number is registered under this name.
        unsafe { bindings::unregister_blkdev(self.major, self.name.as_char_ptr()) };
        if !driver.is_null() {
            // SAFETY: By the invariant of the slot the pointer comes from `into_foreign`. It has
            // been taken from the slot, and no probe uses it any more.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(driver.cast()) });
        }
    }
}
