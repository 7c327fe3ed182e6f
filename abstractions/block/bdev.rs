// SPDX-License-Identifier: GPL-2.0

//! Block devices that somebody has opened.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::{
    bindings, fs,
    uapi::{
        self,
        LoopInfo64, //
    },
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
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_ulong,
        c_void, //
    },
    fs::File,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
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
        fs::block_device(fs::inode(file))?;
        // INVARIANT: Checked above, and the inode of a file does not change.
        Some(Self(file.into()))
    }

    /// Opens a device, for reading, by its number as user space knows it
    /// (`huge_encode_dev`). Takes the disk's `open_mutex`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no such device, else that of its driver.
    pub(crate) fn open(dev: u64) -> Result<Self> {
        // SAFETY: Opens without a holder, which needs no operations of its own.
        // On success we have a reference to a new file.
        let file = unsafe {
            let file = from_err_ptr(bindings::bdev_file_open_by_dev(
                bindings::rust_loop_helper_huge_decode_dev(dev),
                bindings::RUST_LOOP_CONST_BLK_OPEN_READ,
                core::ptr::null_mut(),
                core::ptr::null(),
            ))?;
            ARef::from_raw(NonNull::new(file.cast::<File>()).ok_or(ENXIO)?)
        };
        // INVARIANT: It has been opened as one.
        Ok(Self(file))
    }

    /// Returns the driver's data if the device is a disk of `T`, or a partition
    /// of one.
    pub(crate) fn as_disk_of<T: DiskOperations>(&self) -> Option<Arc<T>> {
        let bdev = self.bdev()?;
        // SAFETY: An open device keeps its disk alive. A table belongs to one
        // driver, so this is a disk that was registered with
        // `DiskRegistration<T>`.
        unsafe {
            let disk = (*bdev.as_ptr()).bd_disk;
            core::ptr::eq((*disk).fops, T::VTABLE.fops())
                .then(|| DiskVTable::<T>::data(disk).into())
        }
    }

    /// Returns whether the device has the major number of loop devices.
    pub(crate) fn is_loop(&self) -> bool {
        self.bdev().is_some_and(|bdev| {
            // SAFETY: An open device keeps its disk alive.
            unsafe { bindings::rust_loop_helper_bdev_is_loop(bdev.as_ptr()) }
        })
    }

    /// Returns the number of the block device that a loop device of another
    /// driver stores its data in; 0 if that is not a block device. Sleeps.
    ///
    /// There is no interface for this inside the kernel, so we ask as a process
    /// does, in the context of one: by `LOOP_GET_STATUS64`, with a page of the current process, which is
    /// mapped for that long.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is not bound, `ENOMEM`, and those of the driver.
    pub(crate) fn loop_backing_device(&self) -> Result<u64> {
        let bdev = self.bdev().ok_or(ENXIO)?.as_ptr();
        // SAFETY: An open device keeps its disk alive.
        let ioctl = unsafe { (*(*(*bdev).bd_disk).fops).ioctl }.ok_or(ENXIO)?;
        let page = UserPage::map()?;
        // SAFETY: The device is open, and this is its driver's method. That it
        // writes to the process's memory is what an ioctl does.
        to_result(unsafe {
            ioctl(
                bdev,
                bindings::RUST_LOOP_CONST_BLK_OPEN_READ,
                uapi::LOOP_GET_STATUS64,
                page.0 as c_ulong,
            )
        })?;
        let info: LoopInfo64 = UserSlice::new(UserPtr::from_addr(page.0), size_of::<LoopInfo64>())
            .reader()
            .read()?;
        Ok(info.lo_rdevice)
    }

    fn bdev(&self) -> Option<NonNull<bindings::block_device>> {
        fs::block_device(fs::inode(&self.0))
    }
}

/// A page of memory of the current process.
struct UserPage(usize);

impl UserPage {
    fn map() -> Result<Self> {
        // SAFETY: We are called on behalf of a process, which has memory of its own.
        // Any of it that is free will do.
        let addr = unsafe {
            bindings::vm_mmap(
                core::ptr::null_mut(),
                0,
                PAGE_SIZE,
                bindings::RUST_LOOP_CONST_PROT_READ_WRITE,
                bindings::RUST_LOOP_CONST_MAP_PRIVATE_ANONYMOUS,
                0,
            )
        };
        // An address or, as in a pointer, an error.
        from_err_ptr(addr as *mut c_void)?;
        Ok(Self(addr))
    }
}

impl Drop for UserPage {
    fn drop(&mut self) {
        // SAFETY: We have mapped it. If the process has unmapped it meanwhile,
        // what is unmapped here is its own.
        unsafe { bindings::vm_munmap(self.0, PAGE_SIZE) };
    }
}
