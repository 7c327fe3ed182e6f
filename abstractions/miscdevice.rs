// SPDX-License-Identifier: GPL-2.0

//! Misc devices, for ioctls.
//!
//! `kernel::miscdevice` has neither driver data for the callbacks nor fixed minor numbers. On
//! Linux 7.2 it also does not keep the module loaded while the device is open.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use super::bindings;
use kernel::{
    container_of,
    error::to_result,
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::Arc,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// A driver of a misc device.
pub(crate) trait MiscOperations: Sized + Send + Sync + 'static {
    /// The C view of this trait; one static for each driver.
    const VTABLE: &'static MiscVTable<Self>;

    /// Handles an ioctl, from 64-bit and 32-bit processes alike. Returns the result of the system
    /// call. Process context.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<i32>;
}

/// Table of a driver ([`struct file_operations`](srctree/include/linux/fs.h)).
pub(crate) struct MiscVTable<T: MiscOperations> {
    fops: bindings::file_operations,
    _p: core::marker::PhantomData<fn() -> T>,
}

// SAFETY: The table has function pointers and a pointer to a module, none of which change.
unsafe impl<T: MiscOperations> Sync for MiscVTable<T> {}

impl<T: MiscOperations> MiscVTable<T> {
    /// Creates the table of a driver in `module`, which stays loaded while the device is open.
    pub(crate) const fn new(module: &'static kernel::ThisModule) -> Self {
        let mut fops: bindings::file_operations = pin_init::zeroed();
        fops.owner = module.as_ptr();
        fops.open = Some(Self::open_callback);
        fops.release = Some(Self::release_callback);
        fops.unlocked_ioctl = Some(Self::ioctl_callback);
        fops.compat_ioctl = Some(Self::ioctl_callback);
        fops.llseek = Some(bindings::noop_llseek);
        Self {
            fops,
            _p: core::marker::PhantomData,
        }
    }

    /// Gives the file a reference to the driver's data.
    ///
    /// # Safety
    ///
    /// Called by `misc_open` only, for a device of a [`MiscRegistration<T>`].
    unsafe extern "C" fn open_callback(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `misc_open` passes a valid file.
        let misc: *mut Opaque<bindings::miscdevice> = unsafe { (*file).private_data }.cast();
        // SAFETY: `misc_open` has set `private_data` to the `struct miscdevice` of a
        // `MiscRegistration<T>`.
        let registration = unsafe { container_of!(misc, MiscRegistration<T>, misc) };
        // SAFETY: `misc_open` holds the lock that `misc_deregister` takes, so the registration is
        // alive.
        let data = unsafe { (*registration).data.clone() };
        // The reference belongs to the file, which may outlive the registration.
        //
        // SAFETY: The file is valid, and `private_data` is for the driver from here on.
        unsafe { (*file).private_data = data.into_foreign() };
        // SAFETY: Both come from the VFS.
        unsafe { bindings::nonseekable_open(inode, file) }
    }

    /// Drops the reference of the file.
    ///
    /// # Safety
    ///
    /// Called by the VFS only, once, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn release_callback(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `open_callback` has stored the pointer, and this is the last use of the file.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }

    /// Passes an ioctl to the driver.
    ///
    /// # Safety
    ///
    /// Called by the VFS only, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn ioctl_callback(
        file: *mut bindings::file,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: `open_callback` has stored the pointer. It stays until the file is released.
        let this = unsafe { <Arc<T> as ForeignOwnable>::borrow((*file).private_data) };
        match this.ioctl(cmd, arg) {
            Ok(ret) => ret as c_long,
            Err(err) => err.to_errno() as c_long,
        }
    }
}

/// A misc device that is registered while this lives
/// ([`struct miscdevice`](srctree/include/linux/miscdevice.h)).
///
/// A file that is open on the device has a reference to the driver's data of its own, so that it
/// may outlive this.
///
/// # Invariants
///
/// `misc` is registered.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     compat::this_module::this_module,
///     miscdevice::{
///         MiscOperations,
///         MiscRegistration,
///         MiscVTable, //
///     },
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// struct Answer(i32);
///
/// impl MiscOperations for Answer {
///     const VTABLE: &'static MiscVTable<Self> = {
///         static VTABLE: MiscVTable<Answer> = MiscVTable::new(this_module());
///         &VTABLE
///     };
///
///     fn ioctl(&self, _cmd: u32, _arg: usize) -> Result<i32> {
///         Ok(self.0)
///     }
/// }
///
/// fn register() -> Result<Pin<KBox<MiscRegistration<Answer>>>> {
///     let data = Arc::new(Answer(42), GFP_KERNEL)?;
///     KBox::pin_init(MiscRegistration::new(c"answer", None, data), GFP_KERNEL)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub(crate) struct MiscRegistration<T: MiscOperations> {
    data: Arc<T>,
    #[pin]
    misc: Opaque<bindings::miscdevice>,
}

// SAFETY: A misc device may be used and deregistered from any thread.
unsafe impl<T: MiscOperations> Send for MiscRegistration<T> {}
// SAFETY: A misc device may be used from any thread, and `T` is `Sync`.
unsafe impl<T: MiscOperations> Sync for MiscRegistration<T> {}

impl<T: MiscOperations> MiscRegistration<T> {
    /// Registers `/dev/<name>` with the given minor number, or with a free one. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the number is taken.
    pub(crate) fn new(
        name: &'static CStr,
        minor: Option<u32>,
        data: Arc<T>,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: The device is registered after `data` has been initialised.
        try_pin_init!(Self {
            data,
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                // SAFETY: `slot` is valid for writes, and zeroes are a valid value.
                unsafe { slot.write_bytes(0, 1) };
                // SAFETY: `slot` has just been initialised.
                let misc = unsafe { &mut *slot };
                misc.minor = minor.unwrap_or(bindings::MISC_DYNAMIC_MINOR) as c_int;
                misc.name = as_char_ptr_in_const_context(name);
                misc.fops = &T::VTABLE.fops;
                // SAFETY: `slot` has been filled in and does not move.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

impl<T: MiscOperations> MiscRegistration<T> {
    /// Returns the driver's data.
    pub(crate) fn data(&self) -> Arc<T> {
        self.data.clone()
    }
}

#[pinned_drop]
impl<T: MiscOperations> PinnedDrop for MiscRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the device is registered.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}
