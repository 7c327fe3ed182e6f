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
        disk::{
            AsDisk as _,
            BlockDevice,
            Disk,
            OpenMode,
            Releasing, //
        },
        limits::Limits,
        mq::SECTOR_SIZE,
    },
    fs::{
        BackingFile,
        Candidate, //
    },
    module::{
        ModuleRef,
        THIS_MODULE, //
    },
    sync::LockKillable as _,
    sysfs::GroupRegistration,
    uapi::{
        flags,
        LoopConfig, //
    },
};
use kernel::{
    pr_warn_once,
    prelude::*,
    sync::Arc, //
};

impl LoopDevice {
    /// Gives the device a backing file (`LOOP_CONFIGURE`, `LOOP_SET_FD`). Sleeps.
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
        config: &LoopConfig,
    ) -> Result {
        // Dropped last, after all locks: letting a file go can take locks that
        // are taken before ours.
        let backing;
        let file = Candidate::fget(config.fd)?;
        let file_is_writable = file.is_open_for_write();
        // Whoever has not opened the device exclusively does so for the time of
        // the change, so that it does not happen under another's feet.
        let _claim = match mode.is_exclusive() {
            true => None,
            false => Some(bdev.claim()?),
        };
        let below = file.as_disk_of::<Self>();
        let validate = match below {
            Some(_) => Some(self.shared.validate.lock_killable()?),
            None => None,
        };
        let mut state = self.state.lock_killable()?;

        if !matches!(*state, State::Unbound) {
            return Err(EBUSY);
        }
        self.check_file(&file, below)?;
        let info = config.info64();
        let mut flags = settings::flags_to_configure(info)?;
        let settings = Settings::new(info)?;
        if !file_is_writable || !mode.is_write() {
            flags |= flags::READ_ONLY;
        }

        let disk = bdev.disk();
        let file = Arc::new(BackingFile::new(file), GFP_KERNEL)?;
        backing = Arc::new(Backing::new(file, settings, flags), GFP_KERNEL)?;
        // Nothing has been changed before this, and nothing fails after it. The
        // queue need not be frozen, for I/O to a device that is not bound does
        // not get this far.
        let limits = limits(&backing, config.block_size);
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

    /// Checks that `file` can back this device. `below` is the loop device that
    /// it is, if it is one; then the validate lock is held.
    fn check_file(&self, file: &Candidate, below: Option<Arc<Self>>) -> Result {
        // Down a stack of loop devices, each of which is bound. This ends, as
        // stacks are built one device at a time under the validate lock.
        let mut next = below;
        while let Some(device) = next {
            if core::ptr::eq(&*device, self) {
                return Err(EBADF);
            }
            let backing = device.workers.backing().ok_or(EINVAL)?;
            if backing.is_run_down() {
                return Err(EINVAL);
            }
            next = backing.file().as_disk_of::<Self>();
        }
        match file.is_file_or_block_device() {
            true => Ok(()),
            false => Err(EINVAL),
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
            pr_warn_once!("rloop{}: block size not reset\n", self.number);
        }
        disk.invalidate();
        drop(sysfs);
        disk.uevent_change();
        disk.media_changed();
        if disk.rescan_partitions().is_err() {
            pr_warn!("rloop{}: partitions not removed\n", self.number);
        }
        disk.suppress_partition_scan(true);

        *self.state.lock() = State::Unbound;
        drop((published, backing));
        // Who closes the device still has a reference of its own.
        drop(module);
    }

    /// Looks for partitions. Called without locks.
    pub(super) fn scan_partitions(&self, disk: &Disk<Self>) {
        if let Err(err) = disk.scan_partitions() {
            pr_warn!(
                "rloop{}: scan for partitions failed ({})\n",
                self.number,
                err.to_errno()
            );
        }
    }
}

/// Asks the backing file for what the limits depend on. `block_size` is what the
/// user wants, in bytes, or 0.
fn limits(backing: &Backing, block_size: u32) -> Limits {
    let file = backing.file();
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
        writable: !backing.is_read_only(),
        has_fsync: file.has_fsync(),
        rotational: below.rotational,
        discard,
    })
}
