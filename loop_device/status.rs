// SPDX-License-Identifier: GPL-2.0

//! Reading and changing the settings of a device that is bound.

use super::{
    attach,
    backing::Backing,
    settings::{
        self,
        Settings, //
    },
    Bound,
    LoopDevice, //
};
use crate::abstractions::{
    block::{
        bdev::BlockDevice,
        disk::{
            Disk,
            Frozen,
            OpenMode, //
        },
    },
    sync::LockKillable as _,
    uapi::{
        flags,
        LoopInfo64, //
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
        let backing = self.state.lock_killable()?.bound()?.backing.clone();
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
    /// [`Settings::new`]. Nothing is changed then.
    pub(super) fn set_status(&self, disk: &Disk<Self>, info: &LoopInfo64) -> Result {
        let mut state = self.state.lock_killable()?;
        let bound = state.bound_mut()?;
        let settings = Settings::new(info)?;
        let old_flags = bound.backing.flags();
        let new_flags = settings::flags_to_set(old_flags, info.lo_flags);
        let block_size = disk.logical_block_size();
        let new = Arc::new(
            bound.backing.with(settings, new_flags, block_size),
            GFP_KERNEL,
        )?;
        let range_differs = settings.differs_in_range(bound.backing.settings());
        let scan = new_flags & !old_flags & flags::PARTSCAN != 0;

        if range_differs {
            disk.sync();
        }
        let frozen = disk.freeze();
        if range_differs {
            frozen.invalidate();
        }
        let old = self.exchange_backing(frozen, bound, new.clone());
        if scan {
            disk.suppress_partition_scan(false);
        }
        if range_differs {
            disk.set_capacity(new.sectors());
        }
        drop(state);
        drop(old);
        if scan {
            self.scan_partitions(disk);
        }
        Ok(())
    }

    /// Asks the backing file for its size again (`LOOP_SET_CAPACITY`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file.
    pub(super) fn update_capacity(&self, disk: &Disk<Self>) -> Result {
        let state = self.state.lock_killable()?;
        disk.set_capacity(state.bound()?.backing.sectors());
        Ok(())
    }

    /// Turns direct I/O to the backing file on or off (`LOOP_SET_DIRECT_IO`).
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device has no backing file, `EINVAL` if that cannot be used
    /// so with the present offset and block size.
    pub(super) fn set_direct_io(&self, disk: &Disk<Self>, on: bool) -> Result {
        let old;
        let mut state = self.state.lock_killable()?;
        let bound = state.bound_mut()?;
        if on == bound.backing.is_direct() {
            return Ok(());
        }
        let flags =
            bound.backing.flags() & !flags::DIRECT_IO | if on { flags::DIRECT_IO } else { 0 };
        let settings = *bound.backing.settings();
        let block_size = disk.logical_block_size();
        let new = Arc::new(bound.backing.with(settings, flags, block_size), GFP_KERNEL)?;
        if on {
            if !new.is_direct() {
                return Err(EINVAL);
            }
            // What is in the page cache goes first. What is lost of it was written to the
            // device, so who flushes that is told, as if this had not been.
            new.file().settle();
        }
        old = self.exchange_backing(disk.freeze(), bound, new);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Changes the logical block size (`LOOP_SET_BLOCK_SIZE`); 0 is for the
    /// default. What the device has cached is written back and dropped. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EBUSY` if somebody else has the device open exclusively;
    /// - `ENXIO` if the device has no backing file;
    /// - `EINVAL` if that is not a block size.
    pub(super) fn set_block_size(
        &self,
        bdev: &BlockDevice<Self>,
        mode: OpenMode,
        bytes: usize,
    ) -> Result {
        let old;
        let _claim = bdev.claim_unless(mode)?;
        let mut state = self.state.lock_killable()?;
        let bound = state.bound_mut()?;
        let disk = bdev.disk();
        if disk.logical_block_size() as usize == bytes {
            return Ok(());
        }
        let backing = bound.backing.clone();
        // It is truncated, as the C driver does.
        let limits = attach::limits(
            backing.file(),
            backing.flags(),
            backing.direct_io(),
            bytes as u32,
        );
        let new = Arc::new(
            backing.with(*backing.settings(), backing.flags(), limits.block_size),
            GFP_KERNEL,
        )?;
        disk.sync();
        let mut update = disk.start_limits_update();
        update.set(&limits);
        let frozen = disk.freeze();
        frozen.invalidate();
        // With blocks that are too small, direct I/O must be off before any comes.
        update.commit()?;
        old = self.exchange_backing(frozen, bound, new);
        drop(state);
        drop((old, backing));
        Ok(())
    }

    /// Lets new commands see another backing. Those that have seen the present one
    /// have ended, as the queue is frozen; it no longer is afterwards. Returns what
    /// there was, to be dropped without locks.
    pub(super) fn exchange_backing(
        &self,
        frozen: Frozen<'_, Self>,
        bound: &mut Bound,
        new: Arc<Backing>,
    ) -> impl Sized {
        let published = self.workers.set_backing(new.clone());
        drop(frozen);
        (published, core::mem::replace(&mut bound.backing, new))
    }
}
