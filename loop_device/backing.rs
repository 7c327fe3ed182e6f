// SPDX-License-Identifier: GPL-2.0

//! The backing file of a device, and how the device looks at it.

use super::{
    geometry,
    settings::Settings,
    LoopDevice,
    Shared, //
};
use crate::abstractions::{
    block::transfer::SegmentArrays,
    fs::{
        BackingFile,
        DirectIo, //
    },
    uapi::flags,
    workqueue::OwnedQueue, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// A backing file with all that a device needs in order to use it. It is there before the
/// first command is, so that no command has to create anything that may wait for memory.
pub(super) struct Store {
    file: BackingFile,
    /// The filesystem's answer when the file was attached.
    direct_io: DirectIo,
    /// The size of the file, in bytes, that the capacity of the device was computed from.
    size: Atomic<u64>,
    /// How many devices of this driver are known to be below.
    level: usize,
    /// The workqueue for the devices of this level.
    queue: Arc<OwnedQueue>,
    /// For direct I/O; those of all devices.
    arrays: Arc<SegmentArrays>,
}

impl Store {
    /// Takes a file, and asks its filesystem about direct I/O. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(file: BackingFile, shared: &Shared) -> Result<Arc<Self>> {
        let direct_io = file.direct_io();
        let below = file.disk_below::<LoopDevice>();
        let below = below.and_then(|device| device.workers.backing());
        let level = below.map_or(0, |backing| backing.store.level.saturating_add(1));
        let this = Self {
            file,
            direct_io,
            size: Atomic::new(0),
            level,
            queue: shared.queues.of_level(level).clone(),
            arrays: shared.arrays.clone(),
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &BackingFile {
        &self.file
    }

    /// Returns the requirements of direct I/O to the file.
    pub(super) fn direct_io(&self) -> DirectIo {
        self.direct_io
    }
}

/// A backing file with the settings of a device.
///
/// Every command holds the one that was the device's when it came, so this never
/// changes, but for the flags, which commands do not look at (except for
/// `READ_ONLY` and `DIRECT_IO`, which stay). New settings make a new one.
pub(crate) struct Backing {
    store: Arc<Store>,
    settings: Settings,
    /// Logical block size of the device, in bytes.
    block_size: u32,
    /// `LO_FLAGS_*`. Changed under the state lock, read anywhere.
    flags: Atomic<u32>,
    /// See [`Stacking`]. Changed under the validate lock.
    stacking: Atomic<u32>,
}

impl Backing {
    /// Combines a file with settings. `LO_FLAGS_DIRECT_IO` is left out if direct I/O is not
    /// possible with blocks of `block_size` bytes.
    pub(super) fn new(store: Arc<Store>, settings: Settings, flags: u32, block_size: u32) -> Self {
        let flags = match geometry::direct_io_fits(store.direct_io, block_size, settings.offset) {
            true => flags,
            false => flags & !flags::DIRECT_IO,
        };
        Self {
            store,
            settings,
            block_size,
            flags: Atomic::new(flags),
            stacking: Atomic::new(Stacking::Allowed as u32),
        }
    }

    /// Returns the same file with other settings; see [`Self::new`].
    pub(super) fn with(&self, settings: Settings, flags: u32, block_size: u32) -> Self {
        Self::new(self.store.clone(), settings, flags, block_size)
    }

    /// Returns what direct I/O to the file takes.
    pub(super) fn direct_io(&self) -> DirectIo {
        self.store.direct_io
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &BackingFile {
        &self.store.file
    }

    /// Returns the workqueue that the device uses.
    pub(crate) fn queue(&self) -> &Arc<OwnedQueue> {
        &self.store.queue
    }

    /// Returns the arrays for the segments of direct I/O.
    pub(crate) fn arrays(&self) -> &SegmentArrays {
        &self.store.arrays
    }

    /// Returns the settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns where in the file byte `pos` of the device is.
    pub(crate) fn file_pos(&self, pos: u64) -> u64 {
        pos.saturating_add(self.settings.offset)
    }

    /// Returns the `LO_FLAGS_*` of the device.
    pub(super) fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Returns whether the device refuses to be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.flags() & flags::READ_ONLY != 0
    }

    /// Returns whether the file is to be read and written past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.flags() & flags::DIRECT_IO != 0
    }

    /// Returns whether the file is read and written past the page cache, if that is asked
    /// for, where `bytes` bytes of the device from byte `pos` on are, whether or not it is to be.
    pub(crate) fn allows_direct(&self, pos: u64, bytes: u32) -> bool {
        let direct_io = self.store.direct_io;
        let mask = u64::from(direct_io.offset_align - 1);
        direct_io.allowed
            && direct_io.bypasses
            && (self.file_pos(pos) | u64::from(bytes)) & mask == 0
    }

    /// Returns whether the file is let go when the device is closed.
    pub(super) fn is_autoclear(&self) -> bool {
        self.flags() & flags::AUTOCLEAR != 0
    }

    /// Lets the file go when the device is closed. Called under the state lock.
    pub(super) fn set_autoclear(&self) {
        self.flags.store(self.flags() | flags::AUTOCLEAR, Relaxed);
    }

    /// Returns whether a device can be put on top of the one that has this file.
    pub(super) fn stacking(&self) -> Stacking {
        match self.stacking.load(Relaxed) {
            value if value == Stacking::Allowed as u32 => Stacking::Allowed,
            value if value == Stacking::Changing as u32 => Stacking::Changing,
            _ => Stacking::RunDown,
        }
    }

    /// Says whether a device can be put on top. Called under the validate lock.
    pub(super) fn set_stacking(&self, stacking: Stacking) {
        self.stacking.store(stacking as u32, Relaxed);
    }

    /// Returns the capacity, in sectors, of the device on a file of `file_size` bytes.
    pub(super) fn sectors(&self, file_size: u64) -> u64 {
        let Settings {
            offset, size_limit, ..
        } = self.settings;
        geometry::device_sectors(file_size, offset, size_limit, self.block_size)
    }

    /// Returns the size of the file, in bytes, that the capacity was computed from last. The
    /// file may have grown since: that shows when the user asks for it, and not by the way.
    pub(super) fn used_file_size(&self) -> u64 {
        self.store.size.load(Relaxed)
    }

    /// Notes the size of the file, in bytes, that the capacity is computed from.
    pub(super) fn use_file_size(&self, file_size: u64) {
        self.store.size.store(file_size, Relaxed);
    }
}

/// Whether a device can be put on top of another one, as far as the file of that is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stacking {
    /// It can.
    Allowed,
    /// The file is about to be replaced by one on a loop device: a ring could be closed
    /// meanwhile.
    Changing,
    /// The file is about to be let go.
    RunDown,
}
