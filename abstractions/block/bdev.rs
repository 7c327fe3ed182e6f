// SPDX-License-Identifier: GPL-2.0

//! Block devices that somebody has opened.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::gen_disk::Disk;
use crate::abstractions::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// How a block device was opened (`blk_mode_t`).
#[derive(Clone, Copy)]
pub(crate) struct OpenMode(bindings::blk_mode_t);

impl OpenMode {
    /// Wraps the C value.
    pub(super) fn from_raw(mode: bindings::blk_mode_t) -> Self {
        Self(mode)
    }

    /// Opened for writing.
    pub(crate) fn is_write(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_WRITE != 0
    }

    /// Opened exclusively (`O_EXCL`).
    pub(crate) fn is_exclusive(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_EXCL != 0
    }
}

/// A disk of driver `T`, or a partition of one, that somebody has opened
/// (`struct block_device`).
///
/// # Invariants
///
/// A reference to it implies that it is open.
#[repr(transparent)]
pub(crate) struct BlockDevice<T>(Opaque<bindings::block_device>, PhantomData<T>);

impl<T> BlockDevice<T> {
    /// # Safety
    ///
    /// `bdev` must be open for `'a`, and its disk must belong to a
    /// [`DiskRegistration<T>`](super::registration::DiskRegistration).
    pub(super) unsafe fn from_raw<'a>(bdev: *mut bindings::block_device) -> &'a Self {
        // SAFETY: The representation is transparent, and the caller guarantees
        // the rest.
        unsafe { &*bdev.cast() }
    }

    /// Returns the disk.
    pub(crate) fn disk(&self) -> &Disk<T> {
        // SAFETY: By the type invariant the device is open, which keeps its disk
        // alive.
        unsafe { Disk::from_raw((*self.0.get()).bd_disk) }
    }

    /// [Claims](Self::claim) the device unless `mode` says that the caller has it
    /// open exclusively already. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody else has it open exclusively.
    pub(crate) fn claim_unless(&self, mode: OpenMode) -> Result<Option<Claim<'_, T>>> {
        match mode.is_exclusive() {
            true => Ok(None),
            false => self.claim().map(Some),
        }
    }

    /// Keeps others from opening the device exclusively until the guard is
    /// dropped. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has done so already.
    fn claim(&self) -> Result<Claim<'_, T>> {
        // SAFETY: By the type invariant the device is open. It identifies the
        // holder as well as anything.
        to_result(unsafe {
            bindings::bd_prepare_to_claim(self.0.get(), self.0.get().cast(), core::ptr::null())
        })?;
        Ok(Claim(self))
    }
}

/// See [`BlockDevice::claim`].
pub(crate) struct Claim<'a, T>(&'a BlockDevice<T>);

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // SAFETY: We have claimed it, with the same holder.
        unsafe { bindings::bd_abort_claiming(self.0 .0.get(), self.0 .0.get().cast()) };
    }
}
