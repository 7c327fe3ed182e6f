// SPDX-License-Identifier: GPL-2.0

//! Reading and changing the settings of a device that is bound.

use super::{
    attach,
    limits,
    LoopDevice, //
};
use crate::{
    abstractions::{
        block::{
            bdev_ops::IoctlCaller,
            gen_disk::{
                Frozen, //
                GenDisk,
            }, //
        },
        sync::LockKillable as _,
        uapi::{
            flags,
            LoopInfo64, //
        },
    },
    backing_file::{
        settings::{
            self,
            Settings, //
        },
        Backing, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl LoopDevice {
    /// Returns the settings (`LOOP_GET_STATUS64`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, or what the filesystem says
    /// when it is asked about the file.
    pub(super) fn get_status(&self) -> Result<LoopInfo64> {
        let backing = self.bound_backing()?;
        let settings = backing.settings();
        let mut info = LoopInfo64::default();
        info.lo_number = self.number;
        info.lo_offset = settings.offset;
        info.lo_sizelimit = settings.size_limit;
        info.lo_flags = backing.flags();
        info.lo_file_name = settings.file_name;

        // Without locks: this enters the filesystem.
        let id = backing.file().id()?;
        info.lo_device = id.dev;
        info.lo_inode = id.ino;
        info.lo_rdevice = id.rdev;
        Ok(info)
    }

    /// Changes the settings (`LOOP_SET_STATUS64`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, `EINVAL` and `EOVERFLOW` as
    /// [`Settings::new`]; if another part of the file is to be shown and the page cache of the
    /// device cannot be written back before, or the filesystem does not tell the size of the
    /// file, the error of that. Nothing is changed then.
    pub(super) fn set_status(&self, disk: &GenDisk<Self>, info: &LoopInfo64) -> Result {
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing()?;
        let settings = Settings::new(info)?;
        let old_flags = current.flags();
        let new_flags = settings::flags_to_set(old_flags, info.lo_flags);
        let block_size = disk.logical_block_size();
        let new = Arc::new(current.with(settings, new_flags, block_size), GFP_KERNEL)?;
        let range_differs = settings.differs_in_range(current.settings());
        let scan = new_flags & !old_flags & flags::PARTSCAN != 0;

        let mut file_size = None;
        if range_differs {
            // To write back may make the file longer.
            disk.sync()?;
            file_size = Some(new.file().size()?);
        }
        let limits = (settings.offset != current.settings().offset).then(|| {
            let (file, direct_io) = (new.file(), new.direct_io());
            attach::limits(file, new_flags, direct_io, block_size, settings.offset)
        });
        // No filesystem is entered from here on.
        let update = limits.map(|limits| {
            let mut update = disk.start_limits_update();
            update.set_discard_alignment(limits.discard_alignment);
            update
        });
        let old = disk.while_frozen(|frozen| {
            if range_differs {
                frozen.invalidate();
            }
            if let Some(update) = update {
                update.commit()?;
            }
            self.exchange_backing(frozen, new.clone(), old_flags)
        })?;
        if let Some(file_size) = file_size {
            new.use_file_size(file_size);
            disk.set_capacity(limits::sectors(&new, file_size));
        }
        if scan {
            self.scan_partitions(disk);
        }
        drop((old, current));
        Ok(())
    }

    /// Asks the backing file for its size again (`LOOP_SET_CAPACITY`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, or that of the filesystem.
    pub(super) fn update_capacity(&self, disk: &GenDisk<Self>) -> Result {
        let _change = self.change.lock_killable()?;
        let backing = self.bound_backing()?;
        let file_size = backing.file().size()?;
        backing.use_file_size(file_size);
        disk.set_capacity(limits::sectors(&backing, file_size));
        Ok(())
    }

    /// Turns direct I/O to the backing file on or off (`LOOP_SET_DIRECT_IO`).
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, `EINVAL` if that cannot be used
    /// so with the present offset and block size.
    pub(super) fn set_direct_io(&self, disk: &GenDisk<Self>, on: bool) -> Result {
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing()?;
        if on == current.is_direct() {
            return Ok(());
        }
        let old_flags = current.flags();
        let flags = old_flags & !flags::DIRECT_IO | if on { flags::DIRECT_IO } else { 0 };
        let block_size = disk.logical_block_size();
        let new = Arc::new(
            current.with(*current.settings(), flags, block_size),
            GFP_KERNEL,
        )?;
        if on {
            if !new.is_direct() {
                return Err(EINVAL);
            }
            // What is in the page cache goes first. What is lost of it was written to the
            // device, so who flushes that is told, as if this had not been.
            new.sync_deferring_error();
        }
        let old = disk.while_frozen(|frozen| self.exchange_backing(frozen, new, old_flags))?;
        drop((old, current));
        Ok(())
    }

    /// Changes the logical block size (`LOOP_SET_BLOCK_SIZE`); 0 is for the
    /// default. What the device has cached is written back and dropped. It shows whole blocks
    /// of the new size. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if another file has the device open exclusively;
    /// - `ENXIO` if the device has no backing file;
    /// - `EINVAL` if that is not a block size;
    /// - the error of writing back, before anything is changed.
    pub(super) fn set_block_size(&self, caller: &IoctlCaller<'_, Self>, bytes: usize) -> Result {
        let disk = caller.disk();
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing();
        // Most is written before the claim, for which exclusive openers wait.
        let written = match &current {
            Ok(_) if disk.logical_block_size() as usize != bytes => disk.sync(),
            _ => Ok(()),
        };
        let _claim = caller.bdev().claim_unless(caller.mode())?;
        let current = current?;
        if disk.logical_block_size() as usize == bytes {
            return Ok(());
        }
        // An error is reported once: the pages are not dirty any more.
        written?;
        // It is truncated, as the C driver does.
        let old_flags = current.flags();
        let (file, direct_io) = (current.file(), current.direct_io());
        let offset = current.settings().offset;
        let limits = attach::limits(file, old_flags, direct_io, bytes as u32, offset);
        let new = Arc::new(
            current.with(*current.settings(), old_flags, limits.block_sizes.logical),
            GFP_KERNEL,
        )?;
        let sectors = limits::sectors(&new, new.used_file_size());
        disk.sync()?;
        let mut update = disk.start_limits_update();
        update.set(&limits);
        let old = disk.while_frozen(|frozen| {
            frozen.invalidate();
            // With blocks that are too small, direct I/O must be off before any comes.
            update.commit()?;
            self.exchange_backing(frozen, new, old_flags)
        })?;
        if disk.capacity() != sectors {
            disk.set_capacity(sectors);
        }
        drop((old, current));
        Ok(())
    }

    /// Lets new commands see another backing. Those that have seen the present one have ended,
    /// as the queue is frozen. Returns the present one, to be dropped without locks.
    ///
    /// `old_flags` are the flags of the present one when the change began. If `LOOP_CLR_FD`
    /// has set `LO_FLAGS_AUTOCLEAR` since, the new one gets it.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is about to lose its backing file.
    pub(super) fn exchange_backing(
        &self,
        _frozen: &Frozen<'_, Self>,
        new: Arc<Backing>,
        old_flags: u32,
    ) -> Result<(Arc<Backing>, Option<Arc<Backing>>)> {
        if !new.is_direct() && self.workers.backing().is_some_and(|old| old.is_direct()) {
            // It may be older than what has been written past it. What is dirty is newer.
            new.file().drop_clean();
        }
        let mut state = self.state.lock();
        let bound = state.bound_mut()?;
        if bound.backing.flags() & !old_flags & flags::AUTOCLEAR != 0 {
            new.set_autoclear();
        }
        let published = self.workers.set_backing(new.clone());
        Ok((core::mem::replace(&mut bound.backing, new), published))
    }
}
