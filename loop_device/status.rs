// SPDX-License-Identifier: GPL-2.0

//! Reading and changing the settings of a device that is bound.

use super::{
    settings::{
        self,
        Settings, //
    },
    LoopDevice, //
};
use crate::abstractions::{
    block::disk::Disk,
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
        let new = Arc::new(bound.backing.with(settings, new_flags), GFP_KERNEL)?;
        let range_differs = settings.differs_in_range(bound.backing.settings());
        let scan = new_flags & !old_flags & flags::PARTSCAN != 0;

        if range_differs {
            disk.sync_and_invalidate();
        }
        let old = {
            // Commands are for the file as it was when they came.
            let _frozen = disk.freeze();
            self.workers.set_backing(new.clone())
        };
        drop((old, core::mem::replace(&mut bound.backing, new.clone())));
        if scan {
            disk.suppress_partition_scan(false);
        }
        if range_differs {
            disk.set_capacity(new.sectors());
        }
        drop(state);
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
}
