// SPDX-License-Identifier: GPL-2.0

//! Disks.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

pub(crate) mod registration;

use crate::abstractions::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A disk of driver `T` ([`struct gendisk`](srctree/include/linux/blkdev.h)).
///
/// # Invariants
///
/// A reference to it implies that it is alive and belongs to a
/// [`GenDiskRegistration<T>`](registration::GenDiskRegistration).
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::gen_disk::GenDisk;
///
/// /// Empties a disk, and forgets what is cached of it.
/// fn empty<T>(disk: &GenDisk<T>) {
///     disk.while_frozen(|frozen| frozen.invalidate());
///     let _suppressed = disk.suppress_uevents();
///     disk.set_capacity(0);
/// }
/// ```
#[repr(transparent)]
pub(crate) struct GenDisk<T>(Opaque<bindings::gendisk>, PhantomData<T>);

// SAFETY: A disk may be used from any thread.
unsafe impl<T> Sync for GenDisk<T> {}

impl<T> GenDisk<T> {
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// `disk` must be alive for `'a`, and must belong to a
    /// [`GenDiskRegistration<T>`](registration::GenDiskRegistration).
    pub(in crate::abstractions) unsafe fn from_raw<'a>(disk: *mut bindings::gendisk) -> &'a Self {
        // SAFETY: The representation is transparent. The rest holds by the caller's promise.
        unsafe { &*disk.cast() }
    }

    /// Returns the disk. Any context.
    pub(in crate::abstractions) fn as_raw(&self) -> *mut bindings::gendisk {
        self.0.get()
    }

    /// Returns the queue of the disk, which lives as long as the disk. Any context.
    pub(in crate::abstractions) fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is alive. Its queue does not change.
        unsafe { (*self.as_raw()).queue }
    }

    fn device(&self) -> *mut bindings::device {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_to_dev(self.as_raw()) }
    }

    /// Returns the directory of the disk in sysfs (`/sys/block/NAME`). Any context.
    pub(in crate::abstractions) fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: By the type invariant the disk, and so its device, is alive.
        unsafe { &raw mut (*self.device()).kobj }
    }

    /// Returns the number of openers of the disk and its partitions (`disk_openers()`).
    pub(crate) fn openers(&self) -> u32 {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_openers(self.as_raw()) }
    }

    /// Returns the logical block size of the queue, in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: The queue lives as long as the disk.
        unsafe { bindings::rust_loop_helper_queue_logical_block_size(self.queue()) }
    }

    /// Sends a change event to user space (`KOBJ_CHANGE`). A failure is ignored, because the
    /// change itself has succeeded.
    pub(crate) fn uevent_change(&self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::kobject_uevent(self.kobject(), bindings::kobject_action_KOBJ_CHANGE) };
    }

    /// Suppresses uevents of the disk until the guard is dropped.
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

    /// Sets the capacity, in sectors, and sends a change event. May sleep.
    pub(crate) fn set_capacity(&self, sectors: u64) {
        // SAFETY: By the type invariant the disk is alive.
        if !unsafe { bindings::set_capacity_and_notify(self.as_raw(), sectors) } {
            self.uevent_change();
        }
    }

    /// Makes the disk read-only or writable (`set_disk_ro()`).
    pub(crate) fn set_read_only(&self, read_only: bool) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::set_disk_ro(self.as_raw(), read_only) };
    }

    /// Increments the sequence number of the disk and sends a media change event to user space
    /// (`disk_force_media_change()`).
    pub(crate) fn media_changed(&self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::disk_force_media_change(self.as_raw()) };
    }

    /// Sets the capacity to 0 and drops the page cache (`invalidate_disk()`). May sleep.
    pub(crate) fn invalidate(&self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::invalidate_disk(self.as_raw()) };
    }

    /// Writes back the page cache of the disk and of its partitions. Sleeps.
    ///
    /// # Errors
    ///
    /// The error of the first write that has failed since the previous call. It has also been
    /// recorded for callers of `fsync()`.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: By the type invariant the disk is alive.
        to_result(unsafe { bindings::rust_loop_helper_disk_sync(self.as_raw()) })
    }

    /// Allows or suppresses partition scans by the block layer (`GD_SUPPRESS_PART_SCAN`).
    pub(crate) fn suppress_partition_scan(&self, suppress: bool) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_disk_set_suppress_part_scan(self.as_raw(), suppress) };
    }

    /// Scans for partitions, and allows the block layer to do so from now on. Takes `open_mutex`.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a partition is in use, `ENXIO` if the disk is being removed.
    pub(crate) fn scan_partitions(&self) -> Result {
        // SAFETY: By the type invariant the disk is alive.
        let open_mutex = unsafe { &raw mut (*self.as_raw()).open_mutex };
        // SAFETY: The mutex of a live disk is initialised.
        unsafe { bindings::mutex_lock(open_mutex) };
        // Under the lock, so that no opener scans before this call does.
        self.suppress_partition_scan(false);
        // SAFETY: The disk is alive, and `open_mutex` is held.
        let ret = unsafe { bindings::bdev_disk_changed(self.as_raw(), false) };
        // SAFETY: The mutex was locked above.
        unsafe { bindings::mutex_unlock(open_mutex) };
        to_result(ret)
    }

    /// Freezes the queue, calls `f`, and unfreezes the queue (`blk_mq_freeze_queue()`). Freezing
    /// waits for I/O in flight and holds back new I/O. Sleeps.
    ///
    /// This is a function rather than a guard. With the queue frozen, allocations of the task must
    /// not start I/O. This is a flag of the task, which guards could restore out of order.
    pub(crate) fn while_frozen<R>(&self, f: impl FnOnce(&Frozen<'_, T>) -> R) -> R {
        // SAFETY: The queue lives as long as the disk.
        let memflags = unsafe { bindings::rust_loop_helper_blk_mq_freeze_queue(self.queue()) };
        // INVARIANT: The queue is frozen until `f` has returned.
        let ret = f(&Frozen(self, NotThreadSafe));
        // SAFETY: This task has frozen the queue.
        unsafe { bindings::rust_loop_helper_blk_mq_unfreeze_queue(self.queue(), memflags) };
        ret
    }
}

/// A disk that is being closed.
///
/// # Invariants
///
/// The current task holds the disk's `open_mutex`.
#[derive(Clone, Copy)]
pub(crate) struct Releasing<'a, T>(&'a GenDisk<T>, NotThreadSafe);

impl<'a, T> Releasing<'a, T> {
    /// Wraps a disk that is being closed.
    ///
    /// # Safety
    ///
    /// The current task must hold the disk's `open_mutex` for `'a`.
    pub(super) unsafe fn new(disk: &'a GenDisk<T>) -> Self {
        // INVARIANT: By the caller's promise.
        Self(disk, NotThreadSafe)
    }

    /// Scans for partitions again. On a disk without capacity this removes all partitions,
    /// including those that user space has added. Sleeps.
    ///
    /// # Errors
    ///
    /// As for [`GenDisk::scan_partitions`].
    pub(crate) fn rescan_partitions(&self) -> Result {
        // SAFETY: By the type invariants the disk is alive, and `open_mutex` is held.
        to_result(unsafe { bindings::bdev_disk_changed(self.0.as_raw(), false) })
    }
}

impl<T> core::ops::Deref for Releasing<'_, T> {
    type Target = GenDisk<T>;

    fn deref(&self) -> &GenDisk<T> {
        self.0
    }
}

/// Guard of [`GenDisk::suppress_uevents`].
pub(crate) struct UeventsSuppressed<'a, T>(&'a GenDisk<T>);

impl<T> Drop for UeventsSuppressed<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { bindings::rust_loop_helper_dev_set_uevent_suppress(self.0.device(), 0) };
    }
}

/// A disk in [`GenDisk::while_frozen`].
///
/// # Invariants
///
/// The queue of the disk is frozen.
pub(crate) struct Frozen<'a, T>(&'a GenDisk<T>, NotThreadSafe);

impl<T> Frozen<'_, T> {
    /// Drops the page cache of the disk and of its partitions, except for dirty pages
    /// (`invalidate_bdev()`). Sleeps, but does not wait for I/O.
    ///
    /// Pages with a reference stay. The task that ends write-back of a page puts its reference
    /// after it has woken the waiters. With the queue frozen no task is between these two steps.
    pub(crate) fn invalidate(&self) {
        // SAFETY: By the type invariant of the disk it is alive.
        unsafe { bindings::rust_loop_helper_disk_invalidate(self.0.as_raw()) };
    }
}
