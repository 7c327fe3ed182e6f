// SPDX-License-Identifier: GPL-2.0

//! The backing file of a device: the file with the resources for accessing it, and the settings
//! of the device.
//!
//! This module does not depend on devices, workers or commands.

#![forbid(unsafe_code)]

pub(crate) mod capabilities;
pub(crate) mod settings;

use self::{
    capabilities::DirectIo,
    settings::Settings, //
};
use crate::abstractions::{
    block::file_io::BvecArrays,
    fs::BackingFile,
    uapi::flags,
    workqueue::OwnedQueue, //
};
use core::ops::Deref;
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

/// A backing file with the resources for accessing it. They are allocated before the first
/// command, so that no command has to wait for memory.
pub(crate) struct Store {
    file: BackingFile,
    /// The requirements of direct I/O when the file was attached.
    direct_io: DirectIo,
    /// The size of the file from which the capacity of the device was computed, in bytes.
    size: Atomic<u64>,
    /// The errno of the last [`Backing::sync_deferring_error`] that failed. Reset to 0 when a flush
    /// reports it.
    deferred_error: Atomic<i32>,
    /// The number of devices of this driver that are known to be below this file.
    level: usize,
    /// The workqueue for devices of this level.
    queue: Arc<OwnedQueue>,
    /// The workqueue for swap-out.
    swap_queue: Arc<OwnedQueue>,
    /// The bvec arrays for direct I/O, which all devices share.
    arrays: Arc<BvecArrays>,
}

impl Store {
    /// Takes a file with `level` devices of this driver below it, the workqueue for devices of that
    /// level, and the one for swap-out. Asks the filesystem for the requirements of direct I/O.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        file: BackingFile,
        level: usize,
        queue: Arc<OwnedQueue>,
        swap_queue: Arc<OwnedQueue>,
        arrays: Arc<BvecArrays>,
    ) -> Result<Arc<Self>> {
        let this = Self {
            direct_io: capabilities::direct_io(&file),
            file,
            size: Atomic::new(0),
            deferred_error: Atomic::new(0),
            level,
            queue,
            swap_queue,
            arrays,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &BackingFile {
        &self.file
    }

    /// Returns the requirements of direct I/O to the file.
    pub(crate) fn direct_io(&self) -> DirectIo {
        self.direct_io
    }
}

/// A backing file with the settings of a device.
///
/// New settings create a new `Backing`. A command uses the one that the device had when the
/// command was queued, so the settings of a command never change.
///
/// Two fields are exceptions. `flags` may get `LO_FLAGS_AUTOCLEAR`, and `stacking` changes;
/// commands read of them only `LO_FLAGS_READ_ONLY` and `LO_FLAGS_DIRECT_IO`, which do not change.
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
    /// Combines a file with settings. Clears `LO_FLAGS_DIRECT_IO` if the file does not support
    /// direct I/O with blocks of `block_size` bytes at the offset of the device.
    pub(crate) fn new(store: Arc<Store>, settings: Settings, flags: u32, block_size: u32) -> Self {
        let flags = if direct_io_fits(store.direct_io, block_size, settings.offset) {
            flags
        } else {
            flags & !flags::DIRECT_IO
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
    pub(crate) fn with(&self, settings: Settings, flags: u32, block_size: u32) -> Self {
        Self::new(self.store.clone(), settings, flags, block_size)
    }

    /// Returns the requirements of direct I/O to the file.
    pub(crate) fn direct_io(&self) -> DirectIo {
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

    /// Returns the workqueue that serves nothing but swap-out.
    pub(crate) fn swap_queue(&self) -> &OwnedQueue {
        &self.store.swap_queue
    }

    /// Returns the pool of bvec arrays for direct I/O.
    pub(crate) fn arrays(&self) -> &BvecArrays {
        &self.store.arrays
    }

    /// Returns the settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the position in the file of byte `pos` of the device.
    pub(crate) fn file_pos(&self, pos: u64) -> u64 {
        pos.saturating_add(self.settings.offset)
    }

    /// Returns the `LO_FLAGS_*` of the device.
    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Returns whether the device is read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.flags() & flags::READ_ONLY != 0
    }

    /// Returns whether the device is in direct mode: reads and writes bypass the page cache of the
    /// file.
    pub(crate) fn is_direct(&self) -> bool {
        self.flags() & flags::DIRECT_IO != 0
    }

    /// Returns whether direct I/O would bypass the page cache of the file for `bytes` bytes from
    /// byte `pos` of the device on. Does not depend on the mode of the device.
    pub(crate) fn allows_direct(&self, pos: u64, bytes: u32) -> bool {
        let direct_io = self.store.direct_io;
        let mask = u64::from(direct_io.offset_align - 1);
        direct_io.allowed
            && direct_io.bypasses
            && (self.file_pos(pos) | u64::from(bytes)) & mask == 0
    }

    /// Makes all written data durable. Sleeps, and enters the filesystem.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the file has no `fsync` method;
    /// - the error of the filesystem, or of any write-back since the previous call;
    /// - the error of [`Self::sync_deferring_error`] if it has failed since the previous call.
    pub(crate) fn flush(&self) -> Result {
        let file = self.file();
        if capabilities::has_fdatasync(file) {
            // Timestamps need not become durable. On a journaling filesystem they would take a
            // commit.
            file.fdatasync()?;
        } else {
            file.fsync()?;
        }
        to_result(self.store.deferred_error.xchg(0, Full))
    }

    /// Makes all written data durable for a caller that cannot handle an error. The next
    /// [`Self::flush`] reports it. Sleeps, and enters the filesystem.
    pub(crate) fn sync_deferring_error(&self) {
        if let Err(err) = self.file().fsync() {
            self.store.deferred_error.store(err.to_errno(), Relaxed);
        }
    }

    /// Prepares `bytes` bytes of the device at byte `pos` for a write with access to the memory
    /// reserves, see [`capabilities`]. Returns whether the file allows such a write. Sleeps.
    pub(crate) fn prepare_for_reserve(&self, pos: u64, bytes: u32) -> bool {
        capabilities::prepare_for_reserve(self.file(), self.file_pos(pos), bytes)
    }

    /// Returns whether the last close of the device detaches the file.
    pub(crate) fn is_autoclear(&self) -> bool {
        self.flags() & flags::AUTOCLEAR != 0
    }

    /// Makes the last close of the device detach the file. Called under the state lock.
    pub(crate) fn set_autoclear(&self) {
        self.flags.store(self.flags() | flags::AUTOCLEAR, Relaxed);
    }

    /// Returns whether a device can be stacked on the one that has this file.
    pub(crate) fn stacking(&self) -> Stacking {
        match self.stacking.load(Relaxed) {
            value if value == Stacking::Allowed as u32 => Stacking::Allowed,
            value if value == Stacking::Changing as u32 => Stacking::Changing,
            _ => Stacking::RunDown,
        }
    }

    /// Sets whether a device can be stacked on this one. Called under the validate lock.
    pub(crate) fn set_stacking(&self, stacking: Stacking) {
        self.stacking.store(stacking as u32, Relaxed);
    }

    /// Returns the logical block size of the device, in bytes.
    pub(crate) fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Returns the number of devices of this driver that are known to be below the file.
    pub(crate) fn level(&self) -> usize {
        self.store.level
    }

    /// Returns the size of the file from which the capacity was computed, in bytes. The file may
    /// have grown since then, which changes the capacity only on request (`LOOP_SET_CAPACITY`).
    pub(crate) fn used_file_size(&self) -> u64 {
        self.store.size.load(Relaxed)
    }

    /// Remembers the size of the file from which the capacity is computed, in bytes.
    pub(crate) fn use_file_size(&self, file_size: u64) {
        self.store.size.store(file_size, Relaxed);
    }
}

/// The backing file, for the commands of one hardware queue.
///
/// Each command holds a reference to it. If all commands held one to the [`Backing`] itself, CPUs
/// would contend for its reference count.
pub(crate) struct QueueBacking(Arc<Backing>);

impl QueueBacking {
    /// Returns another object for the same backing file. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(backing: Arc<Backing>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(backing), GFP_KERNEL)?)
    }

    /// Returns the backing file itself.
    pub(crate) fn backing(&self) -> &Arc<Backing> {
        &self.0
    }
}

impl Deref for QueueBacking {
    type Target = Backing;

    fn deref(&self) -> &Backing {
        &self.0
    }
}

/// Returns whether a device that begins at byte `offset` of its file can use direct I/O.
/// `block_size` is its logical block size, in bytes.
fn direct_io_fits(direct_io: DirectIo, block_size: u32, offset: u64) -> bool {
    direct_io.allowed
        && block_size >= direct_io.offset_align
        && offset & u64::from(direct_io.offset_align - 1) == 0
}

/// The permission to stack another device on the one that has a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stacking {
    /// A device can be stacked on this one.
    Allowed,
    /// The file is being replaced by a loop device. Stacking a device meanwhile could create a
    /// cycle.
    Changing,
    /// The file will be detached.
    RunDown,
}

#[kunit_tests(rust_loop_backing_file)]
mod tests {
    use super::*;

    const DIRECT_IO: DirectIo = DirectIo {
        allowed: true,
        bypasses: true,
        offset_align: 4096,
        mem_align: 4,
    };

    #[test]
    fn direct_io() {
        // (block size, offset, whether it is possible)
        let table = [
            (4096, 0, true),
            (8192, 4096, true),
            (512, 0, false),
            (4096, 512, false),
            (4096, 1 << 40, true),
            (4096, i64::MAX as u64, false),
        ];
        for (block_size, offset, fits) in table {
            assert!(direct_io_fits(DIRECT_IO, block_size, offset) == fits);
            let refused = DirectIo {
                allowed: false,
                ..DIRECT_IO
            };
            assert!(!direct_io_fits(refused, block_size, offset));
        }
    }
}
