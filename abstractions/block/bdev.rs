// SPDX-License-Identifier: GPL-2.0

//! Block devices that somebody has opened.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::{
    bindings,
    fs, //
};
use super::disk::{
    Disk,
    DiskOperations,
    DiskVTable,
    OpenMode, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque, //
};

/// A disk of driver `T`, or a partition of one, that somebody has opened
/// (`struct block_device`).
///
/// # Invariants
///
/// A reference to it implies that it is open.
#[repr(transparent)]
pub(crate) struct BlockDevice<T: DiskOperations>(Opaque<bindings::block_device>, PhantomData<T>);

impl<T: DiskOperations> BlockDevice<T> {
    /// # Safety
    ///
    /// `bdev` must be open for `'a`, and its disk must belong to a
    /// [`DiskRegistration<T>`](super::registration::DiskRegistration).
    pub(super) unsafe fn from_raw<'a>(bdev: *mut bindings::block_device) -> &'a Self {
        // SAFETY: The representation is transparent, and the caller guarantees
        // the rest.
        unsafe { &*bdev.cast() }
    }

    /// Returns the disk.
    pub(crate) fn disk(&self) -> &Disk<T> {
        // SAFETY: By the type invariant the device is open, which keeps its disk
        // alive.
        unsafe { Disk::from_raw((*self.0.get()).bd_disk) }
    }

    /// [Claims](Self::claim) the device unless `mode` says that the caller has it
    /// open exclusively already. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody else has it open exclusively.
    pub(crate) fn claim_unless(&self, mode: OpenMode) -> Result<Option<Claim<'_, T>>> {
        match mode.is_exclusive() {
            true => Ok(None),
            false => self.claim().map(Some),
        }
    }

    /// Keeps others from opening the device exclusively until the guard is
    /// dropped. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has done so already.
    fn claim(&self) -> Result<Claim<'_, T>> {
        // SAFETY: By the type invariant the device is open. It identifies the
        // holder as well as anything.
        to_result(unsafe {
            bindings::bd_prepare_to_claim(self.0.get(), self.0.get().cast(), core::ptr::null())
        })?;
        Ok(Claim(self))
    }
}

/// See [`BlockDevice::claim`].
pub(crate) struct Claim<'a, T: DiskOperations>(&'a BlockDevice<T>);

impl<T: DiskOperations> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // SAFETY: We have claimed it, with the same holder.
        unsafe { bindings::bd_abort_claiming(self.0 .0.get(), self.0 .0.get().cast()) };
    }
}

/// A file that is open on a block device, whoever's that is.
///
/// # Invariants
///
/// The file's inode is that of a block device.
pub(crate) struct DeviceFile(ARef<File>);

impl DeviceFile {
    /// Returns the same file if it is open on a block device.
    pub(in super::super) fn from_file(file: &File) -> Option<Self> {
        fs::block_device(file)?;
        // INVARIANT: Checked above, and the inode of a file does not change.
        Some(Self(file.into()))
    }

    /// Returns the driver's data if the device is a disk of `T`, or a partition
    /// of one.
    pub(crate) fn as_disk_of<T: DiskOperations>(&self) -> Option<Arc<T>> {
        // SAFETY: The file keeps the device open.
        unsafe { disk_data(self.bdev()?) }
    }

    fn bdev(&self) -> Option<NonNull<bindings::block_device>> {
        fs::block_device(&self.0)
    }
}

/// Returns the driver's data if the device is a disk of `T`, or a partition of one.
///
/// # Safety
///
/// `bdev` must be open.
pub(in super::super) unsafe fn disk_data<T: DiskOperations>(
    bdev: NonNull<bindings::block_device>,
) -> Option<Arc<T>> {
    // SAFETY: An open device keeps its disk alive. A table belongs to one driver, so this is a
    // disk that was registered with `DiskRegistration<T>`.
    unsafe {
        let disk = (*bdev.as_ptr()).bd_disk;
        core::ptr::eq((*disk).fops, T::VTABLE.fops()).then(|| DiskVTable::<T>::data(disk).into())
    }
}
