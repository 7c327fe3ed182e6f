// SPDX-License-Identifier: GPL-2.0

//! Giving a device another backing file while it is in use.

use super::{
    backing::Backing,
    LoopDevice, //
};
use crate::abstractions::{
    block::bdev::BlockDevice,
    fs::{
        BackingFile,
        Candidate, //
    },
    sync::LockKillable as _,
    uapi::flags,
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl LoopDevice {
    /// Puts another file in the place of the backing file of a read-only device
    /// (`LOOP_CHANGE_FD`). It has to have the same size; the settings stay. Sleeps.
    ///
    /// # Errors
    ///
    /// All leave the device as it was, and unlike in the C driver without a uevent.
    ///
    /// - `EBADF`: there is no such file descriptor, or it is open on this device;
    /// - `ENXIO`: the device has no backing file;
    /// - `EINVAL`: the device is not read-only, or the file is not one that can
    ///   back it.
    pub(super) fn change_fd(&self, bdev: &BlockDevice<Self>, fd: u32) -> Result {
        // Dropped last, after all locks, as in `configure`.
        let new;
        let old;
        let file = Candidate::fget(fd)?;
        let below = file.device();
        let validate = self.lock_validate(below.as_ref())?;
        let checked = self.check_file(&file, below);
        let mut state = self.state.lock_killable()?;
        let bound = state.bound_mut()?;
        if !bound.backing.is_read_only() {
            return Err(EINVAL);
        }
        checked?;

        let disk = bdev.disk();
        let file = Arc::new(
            BackingFile::new(file, self.shared.no_io_mappings.clone())?,
            GFP_KERNEL,
        )?;
        let direct = match file.is_open_direct() {
            true => flags::DIRECT_IO,
            false => 0,
        };
        let direct_io = file.direct_io();
        new = Arc::new(
            Backing::new(
                file,
                self.transfers.clone(),
                direct_io,
                *bound.backing.settings(),
                bound.backing.flags() | direct,
                disk.logical_block_size(),
            ),
            GFP_KERNEL,
        )?;
        if new.sectors() != bound.backing.sectors() {
            return Err(EINVAL);
        }

        // What others have written so far. Their errors are theirs.
        let _ = new.file().fsync();
        {
            // One event for the whole change, below.
            let _suppressed = disk.suppress_uevents();
            disk.media_changed();
            old = self.exchange_backing(disk.freeze(), bound, new.clone());
            drop(state);
            drop(validate);
        }
        if new.flags() & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        disk.uevent_change();
        drop(old);
        Ok(())
    }
}
