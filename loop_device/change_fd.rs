// SPDX-License-Identifier: GPL-2.0

//! Replacing the backing file of a device that is in use.

use super::{
    limits,
    LoopDevice, //
};
use crate::{
    abstractions::{
        block::bdev_ops::IoctlCaller,
        fs::{
            BackingFile,
            UncheckedFile, //
        },
        sync::LockKillable as _,
        uapi::flags,
    },
    backing_file::{
        Backing,
        Stacking, //
    },
    loop_worker::NewBacking,
};
use kernel::prelude::*;

impl LoopDevice {
    /// Replaces the backing file of a read-only device by a file of the same size
    /// (`LOOP_CHANGE_FD`). The settings stay. Sleeps.
    ///
    /// # Errors
    ///
    /// After an error the device is unchanged. Unlike the C driver, this driver sends no uevent
    /// then.
    ///
    /// - `EBADF`: the file descriptor is not open, or its file is this device;
    /// - `ENXIO`: the device has no backing file;
    /// - `EINVAL`: the device is not read-only, or the file has another size or cannot back a
    ///   device.
    pub(super) fn change_fd(&self, caller: &IoctlCaller<'_, Self>, fd: u32) -> Result {
        let file = caller.fget(fd)?;
        let disk = caller.disk();
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing()?;
        let old_flags = current.flags();
        if !current.is_read_only() {
            return Err(EINVAL);
        }
        let below = file.device();
        // Calls the filesystems, so no lock but the change lock is held.
        let prepared = self.prepare_change(&current, file, disk.logical_block_size());

        let validate = self.lock_validate(below.as_ref())?;
        self.check_stack(below)?;
        let (prepared, fits) = prepared?;
        let new = prepared.backing().clone();
        if !fits {
            return Err(EINVAL);
        }
        // Freezing the queue waits for I/O, which the validate lock must not be held over.
        if validate.is_some() {
            current.set_stacking(Stacking::Changing);
        }
        drop(validate);
        // This fails only if the device is in rundown, and then changes nothing.
        let old = disk.while_frozen(|frozen| self.exchange_backing(frozen, prepared, old_flags))?;
        {
            // The whole change sends one uevent, below.
            let _suppressed = disk.suppress_uevents();
            // A mounted filesystem takes its own locks here.
            disk.media_changed();
        }
        if new.flags() & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        disk.uevent_change();
        drop((old, current));
        Ok(())
    }

    /// Creates the replacement of `current` from `file`. Returns it, and whether the device would
    /// keep its size. Sleeps.
    fn prepare_change(
        &self,
        current: &Backing,
        file: UncheckedFile,
        block_size: u32,
    ) -> Result<(NewBacking, bool)> {
        if !file.is_file_or_block_device() {
            return Err(EINVAL);
        }
        let file = BackingFile::new(file, self.shared.no_io_gfp.clone())?;
        let direct = if file.is_open_direct() {
            flags::DIRECT_IO
        } else {
            0
        };
        let store = self.shared.store(file)?;
        let flags = current.flags() | direct;
        let new = Backing::new(store, *current.settings(), flags, block_size);
        let file_size = new.file().size()?;
        new.use_file_size(file_size);
        let fits =
            limits::sectors(&new, file_size) == limits::sectors(current, current.file().size()?);
        // Writes back data of other writers, whose own fsync() reports errors.
        let _ = new.file().fsync();
        Ok((self.workers.prepare(new)?, fits))
    }
}
