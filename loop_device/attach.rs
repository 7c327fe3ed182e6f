// SPDX-License-Identifier: GPL-2.0

//! Giving a device a backing file, and taking it away again.

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
};
use kernel::{
    pr_warn_once,
    prelude::*,
    sync::{
        lock::mutex::MutexGuard,
        Arc, //
    }, //
};

/// The deepest stack of loop devices that one more is put on.
const MAX_STACK: usize = 1024;

impl LoopDevice {
    /// Gives the device a backing file (`LOOP_CONFIGURE`, `LOOP_SET_FD`): that which `fd` is
    /// open on in the current task. `block_size` is what the user wants, in bytes, or 0.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// All leave the device as it was.
    ///
    /// - `EBADF`: there is no such file descriptor, or it is open on this device;
    /// - `EBUSY`: the device has a backing file or is about to get one, or another file
    ///   has it open exclusively;
    /// - `EINVAL`: the file is not one that can back a device, or a setting is
    ///   not valid;
    /// - `EOVERFLOW`: see [`Settings::new`];
    /// - that of the filesystem that does not tell the size of the file.
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

        // From here on no task waits for a filesystem. Without an exclusive opener the change
        // claims the device, so that it does not happen under the feet of one.
        let _claim = caller.bdev().claim_unless(caller.mode())?;
        let validate = self.lock_validate(below.as_ref())?;
        self.check_stack(below)?;
        let Prepared {
            backing,
            limits,
            sectors,
        } = prepared?;
        let module = ModuleRef::try_get(this_module())?;
        // Devices that are put on top of this one find its file from here on.
        binding.publish(backing.clone());
        drop(validate);
        // Nothing else has been changed before this, and nothing fails after it. The
        // queue need not be frozen, for there is no I/O to a device without capacity.
        let mut update = disk.start_limits_update();
        update.set(&limits);
        update.reset_user();
        update.commit()?;

        {
            // One event for the whole change.
            let _suppressed = disk.suppress_uevents();
            // No opener scans for partitions before this does.
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
        // Before the event, so that its receivers find the partitions.
        if backing.flags() & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        disk.uevent_change();
        Ok(())
    }

    /// Makes all that the device is to have with `file`. Asks the filesystem, so no lock may be
    /// held: it may not answer for any time. Sleeps.
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
        // Writes back data of other writers. They learn of errors by their own fsync().
        let _ = backing.file().fsync();
        Ok(Prepared {
            backing: Arc::new(backing, GFP_KERNEL)?,
            limits,
            sectors,
        })
    }

    /// Takes the validate lock if the file is one on a loop device of this driver. Sleeps.
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

    /// Checks that this device can be put on `below`, the block device that its file is open
    /// on, if it is one. With that of a loop device the validate lock is held.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is this device, or one that stores its data there. `EINVAL` if a device
    /// that it needs has no backing file, `EBUSY` if one is about to have another.
    pub(super) fn check_stack(&self, below: Option<DeviceFile>) -> Result {
        // Down a stack of loop devices, each of which is bound. This ends, as
        // stacks are built one device at a time under the validate lock.
        let mut next = below;
        for _ in 0..MAX_STACK {
            match next {
                None => return Ok(()),
                Some(device) => next = self.below(&device)?,
            }
        }
        Err(EINVAL)
    }

    /// Returns the block device that stores the data of `device`, if `device` is a loop
    /// device of this driver and stores them in a block device.
    ///
    /// Devices of other drivers are opaque, those of the C loop driver as well: no interface
    /// inside the kernel tells where they store their data, and each of them can be changed
    /// after it was looked at.
    ///
    /// # Errors
    ///
    /// `EBADF` if it is this device, `EINVAL` if it is a loop device without a
    /// backing file, `EBUSY` if the file of that is about to be replaced.
    fn below(&self, device: &DeviceFile) -> Result<Option<DeviceFile>> {
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

    /// Lets the backing file go when the device is closed (`LOOP_CLR_FD`).
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is none.
    pub(super) fn clear_fd(&self, disk: &GenDisk<Self>) -> Result {
        // A device that is about to lose its file must not be found bound by one
        // that is about to be put on top of it.
        let _validate = self.shared.validate.lock_killable()?;
        let mut state = self.state.lock();
        let backing = &state.bound()?.backing;
        backing.set_autoclear();
        if disk.openers() == 1 {
            // Keep others out; who called us closes the device last. Until then
            // the device works, so that what has been written to its page cache
            // reaches the file.
            backing.set_stacking(Stacking::RunDown);
            state.run_down();
        }
        Ok(())
    }

    /// Takes the backing file away. Called when the device has been closed for
    /// the last time, so there is no I/O. Sleeps.
    pub(super) fn detach(&self, disk: Releasing<'_, Self>, bound: Bound) {
        let Bound {
            backing,
            _sysfs: sysfs,
            _module: module,
        } = bound;
        let published = self.workers.clear_backing();

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
        drop((published, backing));
        // Who closes the device still has a reference of its own.
        drop(module);
    }

    /// Looks for partitions. Called without locks but the change lock.
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
    /// Takes a file for a device, with the workqueue for the level of the stack that the device
    /// will be at. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn store(&self, file: BackingFile) -> Result<Arc<Store>> {
        let below = file.lower_disk::<LoopDevice>();
        let below = below.and_then(|device| device.workers.backing());
        let level = below.map_or(0, |backing| backing.level().saturating_add(1));
        let queue = self.queues.of_level(level).clone();
        Store::new(file, level, queue, self.arrays.clone())
    }
}

/// All that a device is to have with a file, see [`LoopDevice::prepare`].
struct Prepared {
    backing: Arc<Backing>,
    limits: QueueLimits,
    /// The capacity.
    sectors: u64,
}

/// A device that is about to get a backing file, and is unbound again if it does not.
struct Binding<'a>(&'a LoopDevice);

impl<'a> Binding<'a> {
    /// Keeps others from giving the device a backing file, and from removing it.
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

    /// Lets the device have the file, for commands and for devices on top of it.
    fn publish(&self, backing: Arc<Backing>) {
        self.0.workers.set_backing(backing);
    }

    /// Binds the device.
    fn finish(self, bound: Bound) {
        *self.0.state.lock() = State::Bound(bound);
    }
}

impl Drop for Binding<'_> {
    fn drop(&mut self) {
        let published = {
            let mut state = self.0.state.lock();
            if !matches!(*state, State::Binding) {
                return;
            }
            let published = self.0.workers.clear_backing();
            *state = State::Unbound;
            published
        };
        drop(published);
    }
}

/// Asks a backing file for what the limits depend on. `flags` are those that were
/// asked for, `block_size` is what the user wants, in bytes, or 0. The device begins at byte
/// `offset` of the file.
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
