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

/// A disk of driver `T` (`struct gendisk`).
///
/// # Invariants
///
/// A reference to it implies that it is alive and belongs to a
/// [`DiskRegistration<T>`](registration::DiskRegistration).
#[repr(transparent)]
pub(crate) struct Disk<T>(Opaque<bindings::gendisk>, PhantomData<T>);

// SAFETY: A disk may be used from any thread.
unsafe impl<T> Sync for Disk<T> {}

impl<T> Disk<T> {
    /// # Safety
    ///
    /// `disk` must be alive for `'a` and belong to a [`DiskRegistration<T>`](registration::DiskRegistration).
    pub(in crate::abstractions) unsafe fn from_raw<'a>(disk: *mut bindings::gendisk) -> &'a Self {
        // SAFETY: The representation is transparent, and the caller guarantees
        // the rest.
        unsafe { &*disk.cast() }
    }

    /// Returns the disk. Any context.
    pub(in crate::abstractions) fn as_raw(&self) -> *mut bindings::gendisk {
        self.0.get()
    }

    /// Returns the queue of the disk, which lives as long as that. Any context.
    pub(in crate::abstractions) fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is alive; its queue is set
        // once.
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
pub(crate) struct Releasing<'a, T>(&'a Disk<T>, NotThreadSafe);

impl<'a, T> Releasing<'a, T> {
    /// # Safety
    ///
    /// The disk's `open_mutex` must be held by the current task for `'a`.
    pub(super) unsafe fn new(disk: &'a Disk<T>) -> Self {
        // INVARIANT: By the caller's promise.
        Self(disk, NotThreadSafe)
    }

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

impl<T> core::ops::Deref for Releasing<'_, T> {
    type Target = Disk<T>;

    fn deref(&self) -> &Disk<T> {
        self.0
    }
}

/// See [`Disk::suppress_uevents`].
pub(crate) struct UeventsSuppressed<'a, T>(&'a Disk<T>);

impl<T> Drop for UeventsSuppressed<'_, T> {
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
pub(crate) struct Frozen<'a, T>(&'a Disk<T>, NotThreadSafe);

impl<T> Frozen<'_, T> {
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
