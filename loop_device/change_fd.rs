// SPDX-License-Identifier: GPL-2.0

//! Giving a device another backing file while it is in use.

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
        // Asks the filesystems, so before any other lock.
        let new = self.prepare_change(&current, file, disk.logical_block_size());

        let validate = self.lock_validate(below.as_ref())?;
        self.check_stack(below)?;
        let (new, fits) = new?;
        if !fits {
            return Err(EINVAL);
        }
        // Freezing the queue waits for I/O, so the validate lock is not held meanwhile.
        if validate.is_some() {
            current.set_stacking(Stacking::Changing);
        }
        drop(validate);
        // This fails only if the device has run down, and then it stays as it is.
        let old =
            disk.while_frozen(|frozen| self.exchange_backing(frozen, new.clone(), old_flags))?;
        {
            // One event for the whole change, below.
            let _suppressed = disk.suppress_uevents();
            // A mounted filesystem takes locks of its own here.
            disk.media_changed();
        }
        if new.flags() & flags::PARTSCAN != 0 {
            self.scan_partitions(disk);
        }
        disk.uevent_change();
        drop((old, current));
        Ok(())
    }

    /// Makes what takes the place of `current`, and returns it with whether it has the same
    /// size. Sleeps.
    fn prepare_change(
        &self,
        current: &Backing,
        file: UncheckedFile,
        block_size: u32,
    ) -> Result<(Arc<Backing>, bool)> {
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
        // Writes back data of other writers. They learn of errors by their own fsync().
        let _ = new.file().fsync();
        Ok((Arc::new(new, GFP_KERNEL)?, fits))
    }
}
