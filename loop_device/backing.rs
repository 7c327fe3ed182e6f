// SPDX-License-Identifier: GPL-2.0

//! The backing file of a device, and how the device looks at it.

use super::{
    geometry,
    settings::Settings, //
};
use crate::abstractions::{
    block::transfer::TransferContext,
    fs::{
        BackingFile,
        DirectIo, //
    },
    uapi::flags, //
};
use kernel::sync::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    Arc, //
};

/// A backing file with the settings of a device.
///
/// Every command holds the one that was the device's when it came, so this never
/// changes, but for the flags, which commands do not look at (except for
/// `READ_ONLY` and `DIRECT_IO`, which stay). New settings make a new one.
pub(crate) struct Backing {
    file: Arc<BackingFile>,
    /// For direct I/O; that of the device.
    transfers: Arc<TransferContext>,
    /// What the file said when it was attached.
    direct_io: DirectIo,
    settings: Settings,
    /// `LO_FLAGS_*`. Changed under the state lock, read anywhere.
    flags: Atomic<u32>,
    /// Whether the file will be let go with nobody else getting to use the
    /// device. Changed under the validate lock.
    run_down: Atomic<bool>,
}

impl Backing {
    /// Takes a file with what it says of direct I/O. That flag is left out if
    /// direct I/O is not possible with blocks of `block_size` bytes.
    pub(super) fn new(
        file: Arc<BackingFile>,
        transfers: Arc<TransferContext>,
        direct_io: DirectIo,
        settings: Settings,
        flags: u32,
        block_size: u32,
    ) -> Self {
        let flags = match geometry::direct_io_fits(direct_io, block_size, settings.offset) {
            true => flags,
            false => flags & !flags::DIRECT_IO,
        };
        Self {
            file,
            transfers,
            direct_io,
            settings,
            flags: Atomic::new(flags),
            run_down: Atomic::new(false),
        }
    }

    /// Returns the same file with other settings; see [`Self::new`].
    pub(super) fn with(&self, settings: Settings, flags: u32, block_size: u32) -> Self {
        Self::new(
            self.file.clone(),
            self.transfers.clone(),
            self.direct_io,
            settings,
            flags,
            block_size,
        )
    }

    /// Returns what direct I/O to the file takes.
    pub(super) fn direct_io(&self) -> DirectIo {
        self.direct_io
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &BackingFile {
        &self.file
    }

    /// Returns what direct I/O of the device takes besides the file.
    pub(crate) fn transfers(&self) -> &TransferContext {
        &self.transfers
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
        let mask = u64::from(self.direct_io.offset_align - 1);
        self.direct_io.allowed
            && self.direct_io.bypasses
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

    /// Returns whether the device has run down: then nothing new is put on top of
    /// it.
    pub(super) fn is_run_down(&self) -> bool {
        self.run_down.load(Relaxed)
    }

    /// Marks the device as run down. Called under the validate lock.
    pub(super) fn set_run_down(&self) {
        self.run_down.store(true, Relaxed);
    }

    /// Returns how large the device is now, in sectors; 0 if the file does not
    /// tell its size. Asks the filesystem, so may sleep.
    pub(super) fn sectors(&self) -> u64 {
        let size = self.file.size().unwrap_or(0);
        geometry::device_sectors(size, self.settings.offset, self.settings.size_limit)
    }
}
