// SPDX-License-Identifier: GPL-2.0

//! Disks: what a block driver shows to the rest of the system.
//!
//! The driver's data for a disk, an [`Arc<T>`], is released by `free_disk`, when
//! the last user has gone.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::{
    bindings,
    fs::Candidate, //
};
use super::{
    bdev::BlockDevice,
    mq::Operations, //
};
use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
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
        NotThreadSafe,
        Opaque, //
    },
};

/// A block driver, as the users of its disks see it.
///
/// All methods are called in process context and may sleep. `open` and
/// `release` are called with the disk's `open_mutex` held.
pub(crate) trait DiskOperations: Sized + Send + Sync + 'static {
    /// The driver of the disk's queue.
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

/// How a block device was opened (`blk_mode_t`).
#[derive(Clone, Copy)]
pub(crate) struct OpenMode(bindings::blk_mode_t);

impl OpenMode {
    /// Opened for writing.
    pub(crate) fn is_write(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_WRITE != 0
    }

    /// Opened exclusively (`O_EXCL`).
    pub(crate) fn is_exclusive(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_EXCL != 0
    }
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
        // INVARIANT: The block layer holds `open_mutex`.
        T::release(this, Releasing(disk, NotThreadSafe));
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
            mode: OpenMode(mode),
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

/// A disk of driver `T` (`struct gendisk`).
///
/// # Invariants
///
/// A reference to it implies that it is alive and belongs to a
/// [`DiskRegistration<T>`](super::registration::DiskRegistration).
#[repr(transparent)]
pub(crate) struct Disk<T: DiskOperations>(Opaque<bindings::gendisk>, PhantomData<T>);

// SAFETY: A disk may be used from any thread.
unsafe impl<T: DiskOperations> Sync for Disk<T> {}

impl<T: DiskOperations> Disk<T> {
    /// # Safety
    ///
    /// `disk` must be alive for `'a` and belong to a [`DiskRegistration<T>`](super::registration::DiskRegistration).
    pub(super) unsafe fn from_raw<'a>(disk: *mut bindings::gendisk) -> &'a Self {
        // SAFETY: The representation is transparent, and the caller guarantees
        // the rest.
        unsafe { &*disk.cast() }
    }

    /// Returns the disk. Any context.
    pub(in super::super) fn as_raw(&self) -> *mut bindings::gendisk {
        self.0.get()
    }

    /// Returns the queue of the disk, which lives as long as that. Any context.
    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is alive; its queue is set
        // once.
        unsafe { (*self.as_raw()).queue }
    }

    fn device(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_to_dev(self.as_raw()) }
    }

    /// Returns the directory of the disk in sysfs (`/sys/block/NAME`). Any context.
    pub(in super::super) fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: By the type invariant the disk, and so its device, is alive.
        unsafe { &raw mut (*self.device()).kobj }
    }

    /// Returns how many openers the disk and its partitions have.
    pub(crate) fn openers(&self) -> u32 {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_openers(self.as_raw()) }
    }

    /// Returns the logical block size of the queue, in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: The queue lives as long as the disk.
        unsafe { bindings::rust_loop_helper_queue_logical_block_size(self.queue()) }
    }

    /// Tells user space that something about the disk has changed.
    pub(crate) fn uevent_change(&self) {
        // SAFETY: By the type invariant the disk is alive. A failure to send an
        // event is not one of what it tells of.
        unsafe { bindings::kobject_uevent(self.kobject(), bindings::kobject_action_KOBJ_CHANGE) };
    }

    /// Holds back uevents until the guard is dropped.
    pub(crate) fn suppress_uevents(&self) -> UeventsSuppressed<'_, T> {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_dev_set_uevent_suppress(self.device(), 1) };
        UeventsSuppressed(self)
    }

    /// Returns the capacity, in sectors.
    pub(crate) fn capacity(&self) -> u64 {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_get_capacity(self.as_raw()) }
    }

    /// Sets the capacity, in sectors, and tells user space. May sleep.
    pub(crate) fn set_capacity(&self, sectors: u64) {
        // SAFETY: By the type invariant the disk is alive.
        if !unsafe { bindings::set_capacity_and_notify(self.as_raw(), sectors) } {
            self.uevent_change();
        }
    }

    /// Makes the disk read-only or writable.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::set_disk_ro(self.as_raw(), read_only) };
    }

    /// Tells user space that there is another medium in the disk: raises its
    /// sequence number and sends an event.
    pub(crate) fn media_changed(&self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::disk_force_media_change(self.as_raw()) };
    }

    /// Forgets the size and the cached contents. May sleep.
    pub(crate) fn invalidate(&self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::invalidate_disk(self.as_raw()) };
    }

    /// Writes back the page cache of the disk and of its partitions. Sleeps.
    ///
    /// # Errors
    ///
    /// That of the first write that has failed since the last call for the same device. It
    /// has been recorded for callers of `fsync()` as well.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: By the type invariant the disk is alive.
        to_result(unsafe { bindings::rust_loop_helper_disk_sync(self.as_raw()) })
    }

    /// Lets the block layer look for partitions, or not.
    pub(crate) fn suppress_partition_scan(&self, suppress: bool) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_set_suppress_part_scan(self.as_raw(), suppress) };
    }

    /// Looks for partitions, and lets the block layer do so from now on. Takes `open_mutex`.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a partition is in use, `ENXIO` if the disk is being removed.
    pub(crate) fn scan_partitions(&self) -> Result {
        // SAFETY: By the type invariant the disk is alive.
        unsafe {
            let open_mutex = &raw mut (*self.as_raw()).open_mutex;
            bindings::mutex_lock(open_mutex);
            // Under the lock, so that no opener scans before this does.
            self.suppress_partition_scan(false);
            let ret = bindings::bdev_disk_changed(self.as_raw(), false);
            bindings::mutex_unlock(open_mutex);
            to_result(ret)
        }
    }

    /// Waits for all I/O under way, and calls `f` while new I/O is held back. Sleeps.
    ///
    /// A function rather than a guard: with the queue frozen the task must not allocate
    /// with I/O, which is a flag of the task that guards could restore out of order.
    pub(crate) fn while_frozen<R>(&self, f: impl FnOnce(&Frozen<'_, T>) -> R) -> R {
        // SAFETY: The queue lives as long as the disk.
        let memflags = unsafe { bindings::rust_loop_helper_blk_mq_freeze_queue(self.queue()) };
        // INVARIANT: The queue has just been frozen, and is so until `f` has returned.
        let ret = f(&Frozen(self, NotThreadSafe));
        // SAFETY: This task has frozen the queue.
        unsafe { bindings::rust_loop_helper_blk_mq_unfreeze_queue(self.queue(), memflags) };
        ret
    }
}

/// A disk that somebody is closing.
///
/// # Invariants
///
/// The disk's `open_mutex` is held.
#[derive(Clone, Copy)]
pub(crate) struct Releasing<'a, T: DiskOperations>(&'a Disk<T>, NotThreadSafe);

impl<T: DiskOperations> Releasing<'_, T> {
    /// Looks for partitions again. On a disk without capacity this removes all
    /// there are, those that were added by hand included. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`Disk::scan_partitions`].
    pub(crate) fn rescan_partitions(&self) -> Result {
        // SAFETY: By the type invariants the disk is alive and `open_mutex` is
        // held.
        to_result(unsafe { bindings::bdev_disk_changed(self.0.as_raw(), false) })
    }
}

impl<T: DiskOperations> core::ops::Deref for Releasing<'_, T> {
    type Target = Disk<T>;

    fn deref(&self) -> &Disk<T> {
        self.0
    }
}

/// See [`Disk::suppress_uevents`].
pub(crate) struct UeventsSuppressed<'a, T: DiskOperations>(&'a Disk<T>);

impl<T: DiskOperations> Drop for UeventsSuppressed<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_dev_set_uevent_suppress(self.0.device(), 0) };
    }
}

/// See [`Disk::while_frozen`].
///
/// # Invariants
///
/// The queue of the disk is frozen.
pub(crate) struct Frozen<'a, T: DiskOperations>(&'a Disk<T>, NotThreadSafe);

impl<T: DiskOperations> Frozen<'_, T> {
    /// Forgets the page cache of the disk and of its partitions, but for dirty pages.
    /// Sleeps, but for no I/O.
    ///
    /// A page with a reference stays. The task that ends write-back has a reference, and
    /// puts it after it has woken those that wait for the write-back. With the queue frozen
    /// no task is between the two.
    pub(crate) fn invalidate(&self) {
        // SAFETY: By the type invariant of the disk it is alive.
        unsafe { bindings::rust_loop_helper_disk_invalidate(self.0.as_raw()) };
    }
}
