// SPDX-License-Identifier: GPL-2.0

//! Files that are open on a block device, or stored on one.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::bdev_ops::{
    BlockDeviceOperations,
    BlockDeviceVTable, //
};
use crate::abstractions::{
    bindings,
    fs::{
        block_device,
        BackingFile,
        UncheckedFile, //
    },
};
use core::ptr::NonNull;
use kernel::{
    fs::File,
    sync::{
        aref::ARef,
        Arc, //
    },
};

/// A file that is open on a block device of any driver.
///
/// # Examples
///
/// ```
/// use crate::{
///     abstractions::fs::UncheckedFile,
///     loop_device::LoopDevice, //
/// };
///
/// /// Returns whether a file is open on a device of this driver.
/// fn is_loop(file: &UncheckedFile) -> bool {
///     let device = file.device();
///     device.is_some_and(|device| device.as_disk_of::<LoopDevice>().is_some())
/// }
/// ```
///
/// # Invariants
///
/// The file's inode is that of a block device.
pub(crate) struct DeviceFile(ARef<File>);

impl DeviceFile {
    /// Returns a reference to `file` if it is open on a block device.
    fn from_file(file: &File) -> Option<Self> {
        block_device(file)?;
        // INVARIANT: Checked above. The inode of a file does not change.
        Some(Self(file.into()))
    }

    /// Returns the driver's data if the device is a disk of `T`, or a partition of one.
    pub(crate) fn as_disk_of<T: BlockDeviceOperations>(&self) -> Option<Arc<T>> {
        let bdev = block_device(&self.0)?;
        // SAFETY: The file keeps the device open.
        unsafe { disk_data(bdev) }
    }
}

impl UncheckedFile {
    /// Returns the file as a [`DeviceFile`] if it is open on a block device.
    pub(crate) fn device(&self) -> Option<DeviceFile> {
        DeviceFile::from_file(self.as_file())
    }
}

impl BackingFile {
    /// Returns the file as a [`DeviceFile`] if it is open on a block device.
    pub(crate) fn device(&self) -> Option<DeviceFile> {
        DeviceFile::from_file(self.as_file())
    }

    /// Returns the driver's data of the disk below the file, if that is a disk of `T` or a
    /// partition of one. Any context.
    pub(crate) fn lower_disk<T: BlockDeviceOperations>(&self) -> Option<Arc<T>> {
        let bdev = self.lower_bdev()?;
        // SAFETY: The file keeps the device open.
        unsafe { disk_data(bdev) }
    }
}

/// Returns the driver's data if the device is a disk of `T`, or a partition of one.
///
/// # Safety
///
/// `bdev` must be open.
unsafe fn disk_data<T: BlockDeviceOperations>(
    bdev: NonNull<bindings::block_device>,
) -> Option<Arc<T>> {
    // SAFETY: By the caller's promise the device is open, which keeps its disk alive.
    let disk = unsafe { (*bdev.as_ptr()).bd_disk };
    // SAFETY: The disk is alive.
    let fops = unsafe { (*disk).fops };
    if !core::ptr::eq(fops, T::VTABLE.fops()) {
        return None;
    }
    // SAFETY: The address of the table identifies the driver, so `GenDiskRegistration<T>` has
    // registered the disk.
    Some(unsafe { BlockDeviceVTable::<T>::data(disk) }.into())
}
