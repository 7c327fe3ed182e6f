// SPDX-License-Identifier: GPL-2.0

//! Adding and deleting disks.
//!
//! A [`GenDiskRegistration`] owns an added disk. Dropping it deletes the disk. The driver's data for
//! the disk, an `Arc<T>`, is released by `free_disk` when the last user of the disk is gone.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::GenDisk;
use crate::abstractions::{
    bindings,
    block::{
        bdev_ops::BlockDeviceOperations,
        mq::{
            Operations,
            TagSet,
            TagSetOptions, //
        },
    },
};
use core::ptr::NonNull;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_int,
    fmt::Write as _,
    prelude::*,
    str::NullTerminatedFormatter,
    sync::Arc,
    types::ForeignOwnable, //
};

/// Largest number of minor numbers of a disk, including its own.
pub(crate) const DISK_MAX_PARTS: u32 = bindings::DISK_MAX_PARTS;

/// Properties of a new disk.
pub(crate) struct GenDiskOptions<'a> {
    /// Name in `/dev`.
    pub(crate) name: kernel::fmt::Arguments<'a>,
    /// Major number.
    pub(crate) major: u32,
    /// First minor number.
    pub(crate) minor: u32,
    /// Number of minor numbers for the disk and its partitions. Further partitions get numbers
    /// from a range that all drivers share.
    pub(crate) minors: u32,
    /// Whether the block layer scans for partitions whenever it sees a medium.
    pub(crate) scan_partitions: bool,
    /// Largest request, in sectors.
    pub(crate) max_hw_sectors: u32,
    /// Properties of the tag set.
    pub(crate) tags: TagSetOptions,
}

/// An added disk, which is deleted when this is dropped.
///
/// # Invariants
///
/// `disk` has been added, and this holds a reference to it.
///
/// # Examples
///
/// ```
/// use crate::{
///     abstractions::block::gen_disk::registration::{
///         GenDiskOptions,
///         GenDiskRegistration, //
///     },
///     loop_device::LoopDevice,
///     loop_worker::Workers,
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// fn add(
///     device: Arc<LoopDevice>,
///     workers: Arc<Workers>,
///     options: GenDiskOptions<'_>,
/// ) -> Result<Pin<KBox<GenDiskRegistration<LoopDevice>>>> {
///     KBox::pin_init(GenDiskRegistration::new(device, workers, options), GFP_KERNEL)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub(crate) struct GenDiskRegistration<T: BlockDeviceOperations> {
    disk: NonNull<bindings::gendisk>,
    data: Arc<T>,
    // These are dropped after `drop` has deleted the disk, which drains the queue.
    queue_data: Arc<<T::Queue as Operations>::QueueData>,
    #[pin]
    tags: TagSet<T::Queue>,
}

// SAFETY: A disk may be used and deleted from any thread.
unsafe impl<T: BlockDeviceOperations> Send for GenDiskRegistration<T> {}
// SAFETY: A disk may be used from any thread.
unsafe impl<T: BlockDeviceOperations> Sync for GenDiskRegistration<T> {}

impl<T: BlockDeviceOperations> GenDiskRegistration<T> {
    /// Adds a disk of capacity 0. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`;
    /// - `EEXIST` or `EBUSY` if the name or the number is taken.
    pub(crate) fn new<'a>(
        data: Arc<T>,
        queue_data: Arc<<T::Queue as Operations>::QueueData>,
        options: GenDiskOptions<'a>,
    ) -> impl PinInit<Self, Error> + use<'a, T> {
        try_pin_init!(&this in Self {
            tags <- TagSet::new(options.tags),
            disk: {
                // SAFETY: `tags` has just been initialised.
                let tags = unsafe { &(*this.as_ptr()).tags };
                Self::add(tags, &data, &queue_data, &options)?
            },
            data,
            queue_data,
        })
    }

    fn add(
        tags: &TagSet<T::Queue>,
        data: &Arc<T>,
        queue_data: &Arc<<T::Queue as Operations>::QueueData>,
        options: &GenDiskOptions<'_>,
    ) -> Result<NonNull<bindings::gendisk>> {
        let mut lim = bindings::queue_limits {
            max_hw_sectors: options.max_hw_sectors,
            ..Default::default()
        };
        let private_data = data.clone().into_foreign();
        // Undone by `free_disk`, once the disk has been added.
        let undo_data = kernel::types::ScopeGuard::new(|| {
            // SAFETY: The pointer comes from `into_foreign`, and the disk has been freed.
            drop(unsafe { <Arc<T> as ForeignOwnable>::from_foreign(private_data) })
        });
        // SAFETY: The tag set is initialised, `lim` is valid, and the key is static. The tag set
        // and the data of the queue stay until the disk has been deleted, which drains the queue.
        let disk = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                tags.as_raw(),
                &mut lim,
                Arc::as_ptr(queue_data).cast_mut().cast(),
                kernel::static_lock_class!().as_ptr(),
            )
        })?;
        let undo_disk = kernel::types::ScopeGuard::new(move || {
            // SAFETY: This is the only reference. A disk that was not added is freed without a
            // call of `free_disk`.
            unsafe { bindings::put_disk(disk) }
        });
        {
            // SAFETY: The disk has not been added, so this is the only reference.
            let disk = unsafe { &mut *disk };
            disk.major = options.major as c_int;
            disk.first_minor = options.minor as c_int;
            disk.minors = options.minors as c_int;
            disk.fops = T::VTABLE.fops();
            disk.private_data = private_data;
            disk.events = bindings::RUST_LOOP_CONST_DISK_EVENT_MEDIA_CHANGE as u16;
            disk.event_flags = bindings::RUST_LOOP_CONST_DISK_EVENT_FLAG_UEVENT as u16;
            NullTerminatedFormatter::new(&mut disk.disk_name)
                .ok_or(EINVAL)?
                .write_fmt(options.name)
                .map_err(|_| EINVAL)?;
        }
        // SAFETY: The disk is alive.
        unsafe {
            bindings::rust_loop_helper_disk_set_suppress_part_scan(disk, !options.scan_partitions)
        };
        // SAFETY: The disk has been filled in.
        to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), disk, core::ptr::null_mut())
        })?;
        undo_disk.dismiss();
        undo_data.dismiss();
        // INVARIANT: The disk was added above.
        NonNull::new(disk).ok_or(ENOMEM)
    }

    /// Returns the driver's data.
    pub(crate) fn data(&self) -> &Arc<T> {
        &self.data
    }

    /// Returns the disk.
    pub(crate) fn disk(&self) -> &GenDisk<T> {
        // SAFETY: By the type invariant the disk is alive.
        unsafe { GenDisk::from_raw(self.disk.as_ptr()) }
    }
}

#[pinned_drop]
impl<T: BlockDeviceOperations> PinnedDrop for GenDiskRegistration<T> {
    /// Waits for I/O in flight. Sleeps.
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the disk has been added.
        unsafe { bindings::del_gendisk(self.disk.as_ptr()) };
        // SAFETY: By the type invariant this holds a reference.
        unsafe { bindings::put_disk(self.disk.as_ptr()) };
    }
}
