// SPDX-License-Identifier: GPL-2.0

//! Calls of users of a disk into its driver.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    bdev::{
        BlockDevice,
        OpenMode, //
    },
    gen_disk::{
        Disk,
        Releasing, //
    },
    mq::Operations, //
};
use crate::abstractions::{
    bindings,
    fs::Candidate, //
};
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    ffi::{
        c_int,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::{
        ForeignOwnable,
        NotThreadSafe, //
    },
};

/// A block driver, as the users of its disks see it.
///
/// All methods are called in process context and may sleep. `open` and
/// `release` are called with the disk's `open_mutex` held.
pub(crate) trait DiskOperations: Sized + Send + Sync + 'static {
    /// Driver of the queue of the disk.
    type Queue: Operations;

    /// The C view of this trait. There must be one static for each driver: a
    /// disk is recognised as the driver's by its address.
    const VTABLE: &'static DiskVTable<Self>;

    /// Somebody opens the disk.
    fn open(this: ArcBorrow<'_, Self>, disk: &Disk<Self>) -> Result;

    /// Somebody has closed the disk.
    fn release(this: ArcBorrow<'_, Self>, disk: Releasing<'_, Self>);

    /// An ioctl that the block layer does not know. Returns what the system
    /// call shall return.
    fn ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32>;

    /// The same from a 32-bit process on a 64-bit kernel.
    fn compat_ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32>;
}

/// The issuer of an ioctl on a block device, and how it has opened that.
///
/// # Invariants
///
/// The current task executes an ioctl on `bdev`, for as long as this can be used.
pub(crate) struct IoctlCaller<'a, T: DiskOperations> {
    bdev: &'a BlockDevice<T>,
    mode: OpenMode,
    _not_send: NotThreadSafe,
}

impl<'a, T: DiskOperations> IoctlCaller<'a, T> {
    /// Returns the block device.
    pub(crate) fn bdev(&self) -> &'a BlockDevice<T> {
        self.bdev
    }

    /// Returns the disk of the block device.
    pub(crate) fn disk(&self) -> &'a Disk<T> {
        self.bdev.disk()
    }

    /// Returns how the block device was opened.
    pub(crate) fn mode(&self) -> OpenMode {
        self.mode
    }

    /// Takes a reference to a file of the caller.
    ///
    /// # Errors
    ///
    /// `EBADF` if there is none, `EINVAL` if the file cannot be read and written
    /// by the kernel.
    pub(crate) fn fget(&self, fd: u32) -> Result<Candidate> {
        // SAFETY: By the type invariant the current task executes an ioctl, which has no
        // `fdget_pos` reference.
        unsafe { Candidate::fget(fd) }
    }
}

/// The `struct block_device_operations` of a driver.
#[repr(transparent)]
pub(crate) struct DiskVTable<T: DiskOperations> {
    fops: bindings::block_device_operations,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: Function pointers and a pointer to our module, none of which change.
unsafe impl<T: DiskOperations> Sync for DiskVTable<T> {}

impl<T: DiskOperations> DiskVTable<T> {
    /// Returns the operations, which are a part of `self`.
    pub(super) fn fops(&self) -> *const bindings::block_device_operations {
        &self.fops
    }

    /// Creates the table of a driver in `module`, which stays loaded while a
    /// disk is open.
    pub(crate) const fn new(module: &'static kernel::ThisModule) -> Self {
        Self {
            fops: bindings::block_device_operations {
                owner: module.as_ptr(),
                open: Some(Self::open_callback),
                release: Some(Self::release_callback),
                ioctl: Some(Self::ioctl_callback),
                compat_ioctl: Some(Self::compat_ioctl_callback),
                free_disk: Some(Self::free_disk_callback),
                ..pin_init::zeroed()
            },
            _p: PhantomData,
        }
    }

    /// # Safety
    ///
    /// `disk` must be one of a [`DiskRegistration<T>`](super::registration::DiskRegistration) and not freed yet.
    pub(super) unsafe fn data<'a>(disk: *mut bindings::gendisk) -> ArcBorrow<'a, T> {
        // SAFETY: The registration has put the driver's data there, and it is
        // taken away only by `free_disk_callback`.
        unsafe { <Arc<T> as ForeignOwnable>::borrow((*disk).private_data) }
    }

    /// # Safety
    ///
    /// Called by the block layer only, with a disk that is being opened.
    unsafe extern "C" fn open_callback(
        disk: *mut bindings::gendisk,
        _mode: bindings::blk_mode_t,
    ) -> c_int {
        // SAFETY: The block layer calls this with a live disk of ours.
        let (this, disk) = unsafe { (Self::data(disk), Disk::from_raw(disk)) };
        from_result(|| T::open(this, disk).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the block layer only, with a disk that is being closed.
    unsafe extern "C" fn release_callback(disk: *mut bindings::gendisk) {
        // SAFETY: The block layer calls this with a live disk of ours.
        let (this, disk) = unsafe { (Self::data(disk), Disk::from_raw(disk)) };
        // The block layer holds `open_mutex`.
        //
        // SAFETY: As above.
        T::release(this, unsafe { Releasing::new(disk) });
    }

    /// # Safety
    ///
    /// Called in an ioctl on `bdev`, which is open on a disk of ours for `'a`.
    unsafe fn caller<'a>(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
    ) -> IoctlCaller<'a, T> {
        // INVARIANT: The caller guarantees it.
        IoctlCaller {
            // SAFETY: The caller guarantees that the device is open.
            bdev: unsafe { BlockDevice::from_raw(bdev) },
            mode: OpenMode::from_raw(mode),
            _not_send: NotThreadSafe,
        }
    }

    /// # Safety
    ///
    /// Called by the block layer only, with a device that is open.
    unsafe extern "C" fn ioctl_callback(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_int {
        // SAFETY: The block layer calls this with an open device of a disk of
        // ours.
        let (this, caller) = unsafe { (Self::data((*bdev).bd_disk), Self::caller(bdev, mode)) };
        from_result(|| T::ioctl(this, &caller, cmd, arg))
    }

    /// # Safety
    ///
    /// As for [`Self::ioctl_callback`].
    unsafe extern "C" fn compat_ioctl_callback(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_int {
        // SAFETY: The block layer calls this with an open device of a disk of
        // ours.
        let (this, caller) = unsafe { (Self::data((*bdev).bd_disk), Self::caller(bdev, mode)) };
        from_result(|| T::compat_ioctl(this, &caller, cmd, arg))
    }

    /// # Safety
    ///
    /// Called by the block layer only, once, with a disk that was added and that
    /// nobody uses any more.
    unsafe extern "C" fn free_disk_callback(disk: *mut bindings::gendisk) {
        // SAFETY: The block layer calls this once, when nobody has the disk any
        // more; the registration has put the driver's data there.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign((*disk).private_data) });
    }
}
