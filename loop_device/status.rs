// SPDX-License-Identifier: GPL-2.0

//! Reading and changing the settings of a bound device.

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
    loop_worker::NewBacking,
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
    /// `ENXIO` if the device has no backing file, or the error of the filesystem.
    pub(super) fn get_status(&self) -> Result<LoopInfo64> {
        let backing = self.bound_backing()?;
        let settings = backing.settings();
        let mut info = LoopInfo64::default();
        info.lo_number = self.number;
        info.lo_offset = settings.offset;
        info.lo_sizelimit = settings.size_limit;
        info.lo_flags = backing.flags();
        info.lo_file_name = settings.file_name;

        // Called without locks, because this enters the filesystem.
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
    /// - `ENXIO`: the device has no backing file;
    /// - `EINVAL`, `EOVERFLOW`: see [`Settings::new`];
    /// - if the offset or the size limit changes, the error of writing back the page cache of the
    ///   device, or of asking the filesystem for the size of the file. Then nothing is changed.
    pub(super) fn set_status(&self, disk: &GenDisk<Self>, info: &LoopInfo64) -> Result {
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing()?;
        let settings = Settings::new(info)?;
        let old_flags = current.flags();
        let new_flags = settings::flags_to_set(old_flags, info.lo_flags);
        let block_size = disk.logical_block_size();
        let prepared = self
            .workers
            .prepare(current.with(settings, new_flags, block_size))?;
        let new = prepared.backing().clone();
        let range_differs = settings.differs_in_range(current.settings());
        let scan = new_flags & !old_flags & flags::PARTSCAN != 0;

        let mut file_size = None;
        if range_differs {
            // Write-back may extend the file.
            disk.sync()?;
            file_size = Some(new.file().size()?);
        }
        let limits = (settings.offset != current.settings().offset).then(|| {
            let (file, direct_io) = (new.file(), new.direct_io());
            attach::limits(file, new_flags, direct_io, block_size, settings.offset)
        });
        // No filesystem is called from here on.
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
            self.exchange_backing(frozen, prepared, old_flags)
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

    /// Updates the capacity to the present size of the backing file (`LOOP_SET_CAPACITY`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, or the error of the filesystem.
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
    /// `ENXIO` if the device has no backing file, `EINVAL` if the file does not support direct
    /// I/O with the present offset and block size.
    pub(super) fn set_direct_io(&self, disk: &GenDisk<Self>, on: bool) -> Result {
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing()?;
        if on == current.is_direct() {
            return Ok(());
        }
        let old_flags = current.flags();
        let flags = old_flags & !flags::DIRECT_IO | if on { flags::DIRECT_IO } else { 0 };
        let block_size = disk.logical_block_size();
        let prepared =
            self.workers
                .prepare(current.with(*current.settings(), flags, block_size))?;
        if on {
            let new = prepared.backing();
            if !new.is_direct() {
                return Err(EINVAL);
            }
            // Write back the page cache before bypassing it. A write-back error affects data
            // that this device has already acknowledged, so remember it and report it from the
            // next flush.
            new.sync_deferring_error();
        }
        let old = disk.while_frozen(|frozen| self.exchange_backing(frozen, prepared, old_flags))?;
        drop((old, current));
        Ok(())
    }

    /// Changes the logical block size (`LOOP_SET_BLOCK_SIZE`); 0 selects the default. Writes back
    /// and drops the page cache of the device, and shrinks the device to whole blocks. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: another opener has claimed the device exclusively;
    /// - `ENXIO`: the device has no backing file;
    /// - `EINVAL`: `bytes` is not a valid block size;
    /// - the error of writing back, before anything is changed.
    pub(super) fn set_block_size(&self, caller: &IoctlCaller<'_, Self>, bytes: usize) -> Result {
        let disk = caller.disk();
        let _change = self.change.lock_killable()?;
        let current = self.bound_backing();
        // Exclusive openers wait for the claim, so most dirty pages are written back before it.
        let written = match &current {
            Ok(_) if disk.logical_block_size() as usize != bytes => disk.sync(),
            _ => Ok(()),
        };
        let _claim = caller.bdev().claim_unless(caller.mode())?;
        let current = current?;
        if disk.logical_block_size() as usize == bytes {
            return Ok(());
        }
        // The next write-back would not report the error again, as the pages are clean now.
        written?;
        // The block size is truncated to 32 bits, as in the C driver.
        let old_flags = current.flags();
        let (file, direct_io) = (current.file(), current.direct_io());
        let offset = current.settings().offset;
        let limits = attach::limits(file, old_flags, direct_io, bytes as u32, offset);
        let block_size = limits.block_sizes.logical;
        let new = self
            .workers
            .prepare(current.with(*current.settings(), old_flags, block_size))?;
        let sectors = limits::sectors(new.backing(), new.backing().used_file_size());
        disk.sync()?;
        let mut update = disk.start_limits_update();
        update.set(&limits);
        let old = disk.while_frozen(|frozen| {
            frozen.invalidate();
            // If the new blocks are too small for direct I/O, it is turned off before the next
            // request arrives.
            update.commit()?;
            self.exchange_backing(frozen, new, old_flags)
        })?;
        if disk.capacity() != sectors {
            disk.set_capacity(sectors);
        }
        drop((old, current));
        Ok(())
    }

    /// Replaces the [`Backing`] of the device. The queue is frozen, so no command uses the old
    /// one. Returns the old one, to be dropped without locks. Sleeps.
    ///
    /// `old_flags` are the flags of the old one at the beginning of the change. If `LOOP_CLR_FD`
    /// has set `LO_FLAGS_AUTOCLEAR` since then, the new one inherits it.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is in rundown.
    pub(super) fn exchange_backing(
        &self,
        _frozen: &Frozen<'_, Self>,
        prepared: NewBacking,
        old_flags: u32,
    ) -> Result<Arc<Backing>> {
        let new = prepared.backing().clone();
        if !new.is_direct() && self.workers.backing().is_some_and(|old| old.is_direct()) {
            // Clean pages may be older than data that direct I/O has written. Dirty pages are
            // newer, so they stay.
            new.file().drop_clean();
        }
        let mut state = self.state.lock();
        let bound = state.bound_mut()?;
        if bound.backing.flags() & !old_flags & flags::AUTOCLEAR != 0 {
            new.set_autoclear();
        }
        self.workers.set_backing(prepared);
        Ok(core::mem::replace(&mut bound.backing, new))
    }
}
