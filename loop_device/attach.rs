// SPDX-License-Identifier: GPL-2.0

//! Giving a device a backing file, and taking it away again.

use super::{
    backing::Backing,
    geometry::{
        self,
        Discard,
        LimitsInput, //
    },
    settings::{
        self,
        Settings, //
    },
    sysfs,
    Bound,
    LoopDevice,
    State, //
};
use crate::abstractions::{
    block::{
        bdev::{
            BlockDevice,
            DeviceFile, //
        },
        disk::{
            Disk,
            OpenMode,
            Releasing, //
        },
        limits::Limits,
        mq::SECTOR_SIZE,
    },
    fs::{
        BackingFile,
        Candidate,
        DirectIo, //
    },
    module::{
        ModuleRef,
        THIS_MODULE, //
    },
    sync::LockKillable as _,
    sysfs::GroupRegistration,
    uapi::{
        flags,
        LoopInfo64, //
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
    /// - `EBUSY`: the device has a backing file, or somebody has it open
    ///   exclusively;
    /// - `EINVAL`: the file is not one that can back a device, or a setting is
    ///   not valid;
    /// - `EOVERFLOW`: see [`Settings::new`].
    pub(super) fn configure(
        &self,
        bdev: &BlockDevice<Self>,
        mode: OpenMode,
        fd: u32,
        block_size: u32,
        info: &LoopInfo64,
    ) -> Result {
        // Dropped last, after all locks: letting a file go can take locks that
        // are taken before ours.
        let backing;
        let file = Candidate::fget(fd)?;
        let file_is_writable = file.is_open_for_write();
        // Whoever has not opened the device exclusively does so for the time of
        // the change, so that it does not happen under another's feet.
        let _claim = bdev.claim_unless(mode)?;
        let below = file.device();
        let validate = self.lock_validate(below.as_ref())?;
        // Before our state is locked: this may open devices.
        let checked = self.check_file(&file, below);
        let mut state = self.state.lock_killable()?;

        if !matches!(*state, State::Unbound) {
            return Err(EBUSY);
        }
        checked?;
        let mut flags = settings::flags_to_configure(info)?;
        let settings = Settings::new(info)?;
        if !file_is_writable || !mode.is_write() {
            flags |= flags::READ_ONLY;
        }
        if self.shared.partitions.scan() {
            flags |= flags::PARTSCAN;
        }

        let disk = bdev.disk();
        let file = Arc::new(
            BackingFile::new(file, self.shared.no_io_mappings.clone())?,
            GFP_KERNEL,
        )?;
        if file.is_open_direct() {
            flags |= flags::DIRECT_IO;
        }
        let direct_io = file.direct_io();
        let limits = limits(&file, flags, direct_io, block_size);
        backing = Arc::new(
            Backing::new(
                file,
                self.transfers.clone(),
                direct_io,
                settings,
                flags,
                limits.block_size,
            ),
            GFP_KERNEL,
        )?;
        // Nothing has been changed before this, and nothing fails after it. The
        // queue need not be frozen, for I/O to a device that is not bound does
        // not get this far.
        let mut update = disk.start_limits_update();
        update.set(&limits);
        update.commit()?;

        {
            // One event for the whole change.
            let _suppressed = disk.suppress_uevents();
            disk.media_changed();
            disk.set_read_only(backing.is_read_only());
            // What others have written so far. Their errors are theirs.
            let _ = backing.file().fsync();
            self.workers.set_backing(backing.clone());
            let sysfs = GroupRegistration::new(disk, &sysfs::GROUP).ok();
            disk.set_capacity(backing.sectors());
            *state = State::Bound(Bound {
                backing: backing.clone(),
                _sysfs: sysfs,
                _module: ModuleRef::get(&THIS_MODULE),
            });
            disk.suppress_partition_scan(flags & flags::PARTSCAN == 0);
        }
        disk.uevent_change();
        drop(state);
        drop(validate);
        if flags & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        Ok(())
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

    /// Checks that `file` can back this device. `below` is the block device that
    /// it is, if it is one; with that of a loop device the validate lock is held.
    pub(super) fn check_file(&self, file: &Candidate, below: Option<DeviceFile>) -> Result {
        // Down a stack of loop devices, each of which is bound. This ends, as
        // stacks are built one device at a time under the validate lock.
        let mut next = below;
        for _ in 0..MAX_STACK {
            let Some(device) = next else {
                return match file.is_file_or_block_device() {
                    true => Ok(()),
                    false => Err(EINVAL),
                };
            };
            next = self.below(&device)?;
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
    /// backing file.
    fn below(&self, device: &DeviceFile) -> Result<Option<DeviceFile>> {
        let Some(ours) = device.as_disk_of::<Self>() else {
            return Ok(None);
        };
        if core::ptr::eq(&*ours, self) {
            return Err(EBADF);
        }
        let backing = ours.workers.backing().ok_or(EINVAL)?;
        match backing.is_run_down() {
            true => Err(EINVAL),
            false => Ok(backing.file().device()),
        }
    }

    /// Lets the backing file go when the device is closed (`LOOP_CLR_FD`).
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is none.
    pub(super) fn clear_fd(&self, disk: &Disk<Self>) -> Result {
        // A device that is about to lose its file must not be found bound by one
        // that is about to be put on top of it.
        let _validate = self.shared.validate.lock_killable()?;
        let mut state = self.state.lock_killable()?;
        let backing = &state.bound()?.backing;
        backing.set_autoclear();
        if disk.openers() == 1 {
            // Keep others out; who called us closes the device last. Until then
            // the device works, so that what has been written to its page cache
            // reaches the file.
            backing.set_run_down();
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
        update.set_block_size(SECTOR_SIZE);
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

    /// Looks for partitions. Called without locks.
    pub(super) fn scan_partitions(&self, disk: &Disk<Self>) {
        if let Err(err) = disk.scan_partitions() {
            pr_warn!(
                "{}: scan for partitions failed ({})\n",
                &*self.name,
                err.to_errno()
            );
        }
    }
}

/// Asks a backing file for what the limits depend on. `flags` are those that were
/// asked for, `block_size` is what the user wants, in bytes, or 0.
pub(super) fn limits(
    file: &BackingFile,
    flags: u32,
    direct_io: DirectIo,
    block_size: u32,
) -> Limits {
    let below = file.below();
    let discard = if below.is_device {
        Discard::Device {
            max_sectors: below.write_zeroes_sectors,
            granularity: below.discard_granularity,
        }
    } else if !file.has_fallocate() {
        Discard::No
    } else {
        file.fs_block_size()
            .map_or(Discard::No, |granularity| Discard::Holes { granularity })
    };
    geometry::limits(LimitsInput {
        block_size,
        direct: flags & flags::DIRECT_IO != 0,
        direct_io,
        writable: flags & flags::READ_ONLY == 0,
        has_fsync: file.has_fsync(),
        has_dsync: file.has_dsync(),
        rotational: below.rotational,
        discard,
    })
}
