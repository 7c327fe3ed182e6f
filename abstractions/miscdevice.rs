// SPDX-License-Identifier: GPL-2.0

//! Character devices with a minor number of the misc driver's, for ioctls.
//!
//! Unlike `kernel::miscdevice` of today, this keeps the module loaded while
//! the device is open, and gives the callbacks data of the driver's.
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

    /// An ioctl, from 64-bit and 32-bit processes alike. Returns what the system
    /// call shall return. Process context.
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<i32>;
}

/// The `struct file_operations` of a driver.
pub(crate) struct MiscVTable<T: MiscOperations> {
    fops: bindings::file_operations,
    _p: core::marker::PhantomData<fn() -> T>,
}

// SAFETY: Function pointers and a pointer to our module, none of which change.
unsafe impl<T: MiscOperations> Sync for MiscVTable<T> {}

impl<T: MiscOperations> MiscVTable<T> {
    /// Creates the table of a driver in `module`, which stays loaded while the
    /// device is open.
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

    /// # Safety
    ///
    /// Called by `misc_open` only, for a device of a [`MiscRegistration<T>`].
    unsafe extern "C" fn open_callback(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `misc_open` has set `private_data` to the `struct miscdevice` of a
        // `MiscRegistration<T>`. It holds the lock that `misc_deregister` takes, so that the
        // registration stays for now.
        let data = unsafe {
            let misc: *mut Opaque<bindings::miscdevice> = (*file).private_data.cast();
            (*container_of!(misc, MiscRegistration<T>, misc))
                .data
                .clone()
        };
        // SAFETY: Both come from the VFS. `private_data` is for the driver from here on: a
        // reference of the file, which may outlive the registration.
        unsafe {
            (*file).private_data = data.into_foreign();
            bindings::nonseekable_open(inode, file)
        }
    }

    /// # Safety
    ///
    /// Called by the VFS only, once, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn release_callback(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: `open_callback` has put it there, and this is the last use of the file.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS only, for a file opened by [`Self::open_callback`].
    unsafe extern "C" fn ioctl_callback(
        file: *mut bindings::file,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: `open_callback` has put it there, and it stays until the file is released.
        let this = unsafe { <Arc<T> as ForeignOwnable>::borrow((*file).private_data) };
        match this.ioctl(cmd, arg) {
            Ok(ret) => ret as c_long,
            Err(err) => err.to_errno() as c_long,
        }
    }
}

/// A misc device that is in the system while this lives.
///
/// A file that is open on it has a reference to the driver's data of its own, so that it
/// may outlive this.
///
/// # Invariants
///
/// `misc` is registered.
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
    /// Registers `/dev/<name>` with a minor number, or with one that is free.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has the number.
    pub(crate) fn new(
        name: &'static CStr,
        minor: Option<u32>,
        data: Arc<T>,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: Registered here, after `data` is there.
        try_pin_init!(Self {
            data,
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                // SAFETY: `slot` is valid for writes, and all zeroes is a valid
                // `struct miscdevice` to fill in.
                unsafe {
                    slot.write_bytes(0, 1);
                    (*slot).minor = minor.unwrap_or(bindings::MISC_DYNAMIC_MINOR) as c_int;
                    (*slot).name = as_char_ptr_in_const_context(name);
                    (*slot).fops = &T::VTABLE.fops;
                }
                // SAFETY: `slot` has been filled in and stays where it is.
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
