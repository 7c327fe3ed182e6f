// SPDX-License-Identifier: GPL-2.0

//! Calls of users of a disk into its driver.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    bdev::{
        BlkMode, //
        BlockDevice,
    },
    gen_disk::{
        GenDisk,
        Releasing, //
    },
    mq::Operations, //
};
use crate::abstractions::{
    bindings,
    fs::UncheckedFile, //
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

/// Driver of a disk ([`struct block_device_operations`](srctree/include/linux/blkdev.h)).
///
/// All methods are called in process context and may sleep. `open` and `release` are called with
/// the disk's `open_mutex` held.
///
/// # Examples
///
/// An ioctl that returns the number of openers of a disk:
///
/// ```
/// use crate::{
///     abstractions::{
///         block::bdev_ops::IoctlCaller,
///         compat::errno::ENOSYS, //
///     },
///     loop_device::LoopDevice,
/// };
/// use kernel::prelude::*;
///
/// fn ioctl(caller: &IoctlCaller<'_, LoopDevice>, cmd: u32) -> Result<i32> {
///     match cmd {
///         42 => Ok(caller.disk().openers().try_into()?),
///         _ => Err(ENOSYS),
///     }
/// }
/// ```
pub(crate) trait BlockDeviceOperations: Sized + Send + Sync + 'static {
    /// Driver of the queue of the disk.
    type Queue: Operations;

    /// The C view of this trait. Each driver must have exactly one static, because its address
    /// identifies the disks of the driver.
    const VTABLE: &'static BlockDeviceVTable<Self>;

    /// Called when the disk is opened.
    fn open(this: ArcBorrow<'_, Self>, disk: &GenDisk<Self>) -> Result;

    /// Called when the disk has been closed.
    fn release(this: ArcBorrow<'_, Self>, disk: Releasing<'_, Self>);

    /// Handles an ioctl that the block layer does not know. Returns the result of the system call.
    fn ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32>;

    /// Handles an ioctl of a 32-bit process on a 64-bit kernel, like [`Self::ioctl`].
    fn compat_ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32>;
}

/// Caller of an ioctl on a block device, with the mode in which it opened the device.
///
/// # Invariants
///
/// The current task executes an ioctl on `bdev`, for as long as this exists.
pub(crate) struct IoctlCaller<'a, T: BlockDeviceOperations> {
    bdev: &'a BlockDevice<T>,
    mode: BlkMode,
    _not_send: NotThreadSafe,
}

impl<'a, T: BlockDeviceOperations> IoctlCaller<'a, T> {
    /// Returns the block device.
    pub(crate) fn bdev(&self) -> &'a BlockDevice<T> {
        self.bdev
    }

    /// Returns the disk of the block device.
    pub(crate) fn disk(&self) -> &'a GenDisk<T> {
        self.bdev.disk()
    }

    /// Returns the mode in which the block device was opened.
    pub(crate) fn mode(&self) -> BlkMode {
        self.mode
    }

    /// Takes a reference to a file of the caller.
    ///
    /// # Errors
    ///
    /// - `EBADF` if there is no such file descriptor;
    /// - `EINVAL` if the kernel cannot read and write the file.
    pub(crate) fn fget(&self, fd: u32) -> Result<UncheckedFile> {
        // SAFETY: By the type invariant the current task executes an ioctl, which holds no
        // `fdget_pos` reference.
        unsafe { UncheckedFile::fget(fd) }
    }
}

/// Table of a driver ([`struct block_device_operations`](srctree/include/linux/blkdev.h)).
#[repr(transparent)]
pub(crate) struct BlockDeviceVTable<T: BlockDeviceOperations> {
    fops: bindings::block_device_operations,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: The table has function pointers and a pointer to a module, none of which change.
unsafe impl<T: BlockDeviceOperations> Sync for BlockDeviceVTable<T> {}

impl<T: BlockDeviceOperations> BlockDeviceVTable<T> {
    /// Returns the C table, which is part of `self`.
    pub(super) fn fops(&self) -> *const bindings::block_device_operations {
        &self.fops
    }

    /// Creates the table of a driver in `module`, which stays loaded while a disk is open.
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

    /// Returns the driver's data.
    ///
    /// # Safety
    ///
    /// `disk` must belong to a [`GenDiskRegistration<T>`](super::gen_disk::registration::GenDiskRegistration)
    /// and must not have been freed.
    pub(super) unsafe fn data<'a>(disk: *mut bindings::gendisk) -> ArcBorrow<'a, T> {
        // SAFETY: By the caller's promise the disk is alive.
        let data = unsafe { (*disk).private_data };
        // SAFETY: The registration has stored the driver's data there. Only `free_disk_callback`
        // takes it away.
        unsafe { <Arc<T> as ForeignOwnable>::borrow(data) }
    }

    /// Passes an open to the driver.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, with a disk that is being opened.
    unsafe extern "C" fn open_callback(
        disk: *mut bindings::gendisk,
        _mode: bindings::blk_mode_t,
    ) -> c_int {
        // SAFETY: The block layer passes a live disk, and only disks of `T` have this table.
        let (this, disk) = unsafe { (Self::data(disk), GenDisk::from_raw(disk)) };
        from_result(|| T::open(this, disk).map(|()| 0))
    }

    /// Passes a close to the driver.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, with a disk that is being closed.
    unsafe extern "C" fn release_callback(disk: *mut bindings::gendisk) {
        // SAFETY: As for `open_callback`.
        let (this, disk) = unsafe { (Self::data(disk), GenDisk::from_raw(disk)) };
        // SAFETY: The block layer holds `open_mutex` until this function returns.
        let releasing = unsafe { Releasing::new(disk) };
        T::release(this, releasing);
    }

    /// Returns the driver's data and the caller of an ioctl.
    ///
    /// # Safety
    ///
    /// The current task must execute an ioctl on `bdev` for `'a`, and only disks of `T` have this
    /// table.
    unsafe fn caller<'a>(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
    ) -> (ArcBorrow<'a, T>, IoctlCaller<'a, T>) {
        // SAFETY: By the caller's promise the device is open, which keeps its disk alive.
        let this = unsafe { Self::data((*bdev).bd_disk) };
        // INVARIANT: By the caller's promise.
        let caller = IoctlCaller {
            // SAFETY: By the caller's promise the device is open.
            bdev: unsafe { BlockDevice::from_raw(bdev) },
            mode: BlkMode::from_raw(mode),
            _not_send: NotThreadSafe,
        };
        (this, caller)
    }

    /// Passes an ioctl to the driver.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, with an open device.
    unsafe extern "C" fn ioctl_callback(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_int {
        // SAFETY: The block layer calls this for an ioctl on an open device.
        let (this, caller) = unsafe { Self::caller(bdev, mode) };
        from_result(|| T::ioctl(this, &caller, cmd, arg))
    }

    /// Passes an ioctl of a 32-bit process to the driver.
    ///
    /// # Safety
    ///
    /// As for [`Self::ioctl_callback`].
    unsafe extern "C" fn compat_ioctl_callback(
        bdev: *mut bindings::block_device,
        mode: bindings::blk_mode_t,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_int {
        // SAFETY: The block layer calls this for an ioctl on an open device.
        let (this, caller) = unsafe { Self::caller(bdev, mode) };
        from_result(|| T::compat_ioctl(this, &caller, cmd, arg))
    }

    /// Drops the driver's data.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, once, when the last reference to an added disk is gone.
    unsafe extern "C" fn free_disk_callback(disk: *mut bindings::gendisk) {
        // SAFETY: The block layer passes a valid disk.
        let data = unsafe { (*disk).private_data };
        // SAFETY: The registration has stored the driver's data there. This is its last use.
        drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(data) });
    }
}
