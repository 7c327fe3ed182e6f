// SPDX-License-Identifier: GPL-2.0

//! Attaching a backing file to a device, and detaching it.

use super::{
    limits::{
        self,
        Discard,
        LimitsInput, //
    },
    sysfs,
    Bound,
    LoopDevice,
    Shared,
    State, //
};
use crate::{
    abstractions::{
        block::{
            bdev_file::DeviceFile,
            bdev_ops::IoctlCaller,
            gen_disk::{
                GenDisk,
                Releasing, //
            },
            mq::SECTOR_SIZE,
            queue_limits::{
                BlockSizes,
                QueueLimits, //
            },
        },
        compat::this_module::this_module,
        fs::{
            BackingFile,
            UncheckedFile, //
        },
        module::ModuleRef,
        sync::LockKillable as _,
        sysfs::GroupRegistration,
        uapi::{
            flags,
            LoopInfo64, //
        },
    },
    backing_file::{
        capabilities::{
            self,
            DirectIo, //
        },
        settings::{self, Settings},
        Backing,
        Stacking,
        Store, //
    },
    loop_worker::NewBacking,
};
use kernel::{
    pr_warn_once,
    prelude::*,
    sync::{
        lock::mutex::MutexGuard,
        Arc, //
    }, //
};

/// The maximum depth of a stack of loop devices below a new one.
const MAX_STACK: usize = 1024;

impl LoopDevice {
    /// Attaches the file behind the file descriptor `fd` of the current task
    /// (`LOOP_CONFIGURE`, `LOOP_SET_FD`). `block_size` is the logical block size in bytes, or 0
    /// for the default. Sleeps.
    ///
    /// # Errors
    ///
    /// After an error the device is unchanged.
    ///
    /// - `EBADF`: the file descriptor is not open, or its file is this device;
    /// - `EBUSY`: the device has a backing file, another ioctl is attaching one, or another
    ///   opener has claimed the device exclusively;
    /// - `EINVAL`: the file is neither a regular file nor a block device, or a setting is
    ///   invalid;
    /// - `EOVERFLOW`: see [`Settings::new`];
    /// - the error of a filesystem that does not report the size of the file.
    pub(super) fn configure(
        &self,
        caller: &IoctlCaller<'_, Self>,
        fd: u32,
        block_size: u32,
        info: &LoopInfo64,
    ) -> Result {
        let file = caller.fget(fd)?;
        let binding = Binding::start(self)?;
        let disk = caller.disk();
        let below = file.device();
        let prepared = self.prepare(caller, file, block_size, info);

        // No filesystem is called from here on. The claim keeps other openers from claiming the
        // device exclusively during the change. An exclusive caller has the claim already.
        let _claim = caller.bdev().claim_unless(caller.mode())?;
        let validate = self.lock_validate(below.as_ref())?;
        self.check_stack(below)?;
        let Prepared {
            backing: prepared,
            limits,
            sectors,
        } = prepared?;
        let backing = prepared.backing().clone();
        let module = ModuleRef::try_get(this_module())?;
        // Devices that are stacked on this one find its backing file from here on.
        binding.publish(prepared);
        drop(validate);
        // This is the first change to the disk, and the last step that can fail. The queue need
        // not be frozen, because a device without capacity has no I/O in flight.
        let mut update = disk.start_limits_update();
        update.set(&limits);
        update.reset_user();
        update.commit()?;

        {
            // The whole change sends one uevent, below.
            let _suppressed = disk.suppress_uevents();
            // Openers do not scan for partitions before the scan below.
            disk.suppress_partition_scan(true);
            disk.media_changed();
            disk.set_read_only(backing.is_read_only());
            let sysfs = GroupRegistration::new(disk, &sysfs::GROUP).ok();
            disk.set_capacity(sectors);
            binding.finish(Bound {
                backing: backing.clone(),
                _sysfs: sysfs,
                _module: module,
            });
        }
        // The scan precedes the uevent, so that receivers of the event find the partitions.
        if backing.flags() & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        disk.uevent_change();
        Ok(())
    }

    /// Collects and creates the data for attaching `file`. Called without locks, because the
    /// filesystem may take arbitrarily long to answer. Sleeps.
    fn prepare(
        &self,
        caller: &IoctlCaller<'_, Self>,
        file: UncheckedFile,
        block_size: u32,
        info: &LoopInfo64,
    ) -> Result<Prepared> {
        if !file.is_file_or_block_device() {
            return Err(EINVAL);
        }
        let mut flags = settings::flags_to_configure(info)?;
        let settings = Settings::new(info)?;
        if !file.is_open_for_write() || !caller.mode().is_write() {
            flags |= flags::READ_ONLY;
        }
        if self.shared.partitions.scan() {
            flags |= flags::PARTSCAN;
        }
        self.create_debugfs()?;
        let file = BackingFile::new(file, self.shared.no_io_gfp.clone())?;
        if file.is_open_direct() {
            flags |= flags::DIRECT_IO;
        }
        let store = self.shared.store(file)?;
        let limits = limits(
            store.file(),
            flags,
            store.direct_io(),
            block_size,
            settings.offset,
        );
        let backing = Backing::new(store, settings, flags, limits.block_sizes.logical);
        let file_size = backing.file().size()?;
        backing.use_file_size(file_size);
        let sectors = limits::sectors(&backing, file_size);
        // Writes back data of other writers, whose own fsync() reports errors.
        let _ = backing.file().fsync();
        Ok(Prepared {
            backing: self.workers.prepare(backing)?,
            limits,
            sectors,
        })
    }

    /// Takes the validate lock if the file is a loop device of this driver. Sleeps.
    pub(super) fn lock_validate(
        &self,
        below: Option<&DeviceFile>,
    ) -> Result<Option<MutexGuard<'_, ()>>> {
        match below {
            Some(device) if device.as_disk_of::<Self>().is_some() => {
                self.shared.validate.lock_killable().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Checks that this device can be stacked on `below`, the block device that is its backing
    /// file. `None` if the file is a regular file. If `below` is a loop device of this driver,
    /// the caller holds the validate lock.
    ///
    /// # Errors
    ///
    /// - `EBADF`: the stack contains this device;
    /// - `EINVAL`: a device of the stack has no backing file, or the stack has more than
    ///   [`MAX_STACK`] devices;
    /// - `EBUSY`: the backing file of a device of the stack is being replaced.
    pub(super) fn check_stack(&self, below: Option<DeviceFile>) -> Result {
        // All devices of the stack are bound. The stack has no cycle, because stacks are built
        // one device at a time under the validate lock.
        let mut next = below;
        for _ in 0..MAX_STACK {
            match next {
                None => return Ok(()),
                Some(device) => next = self.next_in_stack(&device)?,
            }
        }
        Err(EINVAL)
    }

    /// Returns the block device that is the backing file of `device`. `None` if `device` is not
    /// a loop device of this driver, or is on a regular file.
    ///
    /// Devices of other drivers, the C loop driver included, are opaque. The kernel has no
    /// interface that tells where they store their data, and they can change after the check.
    ///
    /// # Errors
    ///
    /// - `EBADF`: `device` is this device;
    /// - `EINVAL`: `device` has no backing file;
    /// - `EBUSY`: the backing file of `device` is being replaced.
    fn next_in_stack(&self, device: &DeviceFile) -> Result<Option<DeviceFile>> {
        let Some(ours) = device.as_disk_of::<Self>() else {
            return Ok(None);
        };
        if core::ptr::eq(&*ours, self) {
            return Err(EBADF);
        }
        let backing = ours.workers.backing().ok_or(EINVAL)?;
        match backing.stacking() {
            Stacking::Allowed => Ok(backing.file().device()),
            Stacking::Changing => Err(EBUSY),
            Stacking::RunDown => Err(EINVAL),
        }
    }

    /// Detaches the backing file at the last close of the device (`LOOP_CLR_FD`).
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file.
    pub(super) fn clear_fd(&self, disk: &GenDisk<Self>) -> Result {
        // An ioctl that stacks another device on this one must see it either bound or in
        // rundown, for the whole of its check.
        let _validate = self.shared.validate.lock_killable()?;
        let mut state = self.state.lock();
        let backing = &state.bound()?.backing;
        backing.set_autoclear();
        if disk.openers() == 1 {
            // The caller is the only opener, and no other task can open the device from now on.
            // The device works until the caller closes it, so that dirty pages in its page
            // cache reach the file.
            backing.set_stacking(Stacking::RunDown);
            state.run_down();
        }
        Ok(())
    }

    /// Detaches the backing file. Called at the last close, so no I/O is in flight. Sleeps.
    pub(super) fn detach(&self, disk: Releasing<'_, Self>, bound: Bound) {
        let Bound {
            backing,
            _sysfs: sysfs,
            _module: module,
        } = bound;
        self.workers.clear_backing();

        let mut update = disk.start_limits_update();
        update.set_block_sizes(BlockSizes::all(SECTOR_SIZE));
        if update.commit().is_err() {
            pr_warn_once!("{}: block size not reset\n", &*self.name);
        }
        disk.invalidate();
        drop(sysfs);
        disk.uevent_change();
        disk.media_changed();
        if disk.rescan_partitions().is_err() {
            pr_warn!("{}: partitions not removed\n", &*self.name);
        }
        disk.suppress_partition_scan(!self.shared.partitions.scan());

        *self.state.lock() = State::Unbound;
        drop(backing);
        // The task that closes the device still holds a reference to the module.
        drop(module);
    }

    /// Scans for partitions. Called with no lock held, or only the change lock. Sleeps.
    pub(super) fn scan_partitions(&self, disk: &GenDisk<Self>) {
        if let Err(err) = disk.scan_partitions() {
            pr_warn!(
                "{}: scan for partitions failed ({})\n",
                &*self.name,
                err.to_errno()
            );
        }
    }
}

impl Shared {
    /// Combines a backing file with the workqueues for the level of its device in a stack, and
    /// for swap-out. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn store(&self, file: BackingFile) -> Result<Arc<Store>> {
        let below = file.lower_disk::<LoopDevice>();
        let below = below.and_then(|device| device.workers.backing());
        let level = below.map_or(0, |backing| backing.level().saturating_add(1));
        let queue = self.queues.of_level(level).clone();
        Store::new(file, level, queue, self.swap.clone(), self.arrays.clone())
    }
}

/// The data for attaching a file, see [`LoopDevice::prepare`].
struct Prepared {
    backing: NewBacking,
    limits: QueueLimits,
    /// The capacity, in sectors.
    sectors: u64,
}

/// A device to which an ioctl attaches a backing file. Dropping this makes the device unbound
/// again, unless [`Self::finish`] has been called.
struct Binding<'a>(&'a LoopDevice);

impl<'a> Binding<'a> {
    /// Excludes other ioctls that attach a file to the device or remove the device.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the device is not unbound.
    fn start(device: &'a LoopDevice) -> Result<Self> {
        let mut state = device.state.lock();
        match *state {
            State::Unbound => *state = State::Binding,
            _ => return Err(EBUSY),
        }
        Ok(Self(device))
    }

    /// Makes the file visible to commands, and to devices that are stacked on this one.
    fn publish(&self, backing: NewBacking) {
        self.0.workers.set_backing(backing);
    }

    /// Binds the device.
    fn finish(self, bound: Bound) {
        *self.0.state.lock() = State::Bound(bound);
    }
}

impl Drop for Binding<'_> {
    fn drop(&mut self) {
        let backing = self.0.workers.backing();
        {
            let mut state = self.0.state.lock();
            if !matches!(*state, State::Binding) {
                return;
            }
            self.0.workers.clear_backing();
            *state = State::Unbound;
        }
        drop(backing);
    }
}

/// Returns the queue limits of a device on `file`. `flags` are the requested `LO_FLAGS_*`,
/// `block_size` is the requested logical block size in bytes, or 0 for the default. The device
/// begins at byte `offset` of the file. Calls the filesystem.
pub(super) fn limits(
    file: &BackingFile,
    flags: u32,
    direct_io: DirectIo,
    block_size: u32,
    offset: u64,
) -> QueueLimits {
    let below = file.backing_limits();
    let discard = if below.is_device {
        Discard::Device {
            max_sectors: below.write_zeroes_sectors,
            granularity: below.discard_granularity,
            alignment: below.discard_alignment,
            logical_block_size: below.logical_block_size,
        }
    } else if !file.has_fallocate() {
        Discard::No
    } else {
        file.fs_block_size()
            .map_or(Discard::No, |granularity| Discard::Holes { granularity })
    };
    limits::limits(LimitsInput {
        block_size,
        direct: flags & flags::DIRECT_IO != 0,
        direct_io,
        writable: flags & flags::READ_ONLY == 0,
        has_fsync: file.has_fsync(),
        has_dsync: capabilities::has_dsync(file),
        rotational: below.rotational,
        stable_writes: file.needs_stable_writes(),
        offset,
        discard,
    })
}
