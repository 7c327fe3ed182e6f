// SPDX-License-Identifier: GPL-2.0

//! Open block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::gen_disk::GenDisk;
use crate::abstractions::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// Mode in which a block device was opened
/// ([`blk_mode_t`](srctree/include/linux/blkdev.h)).
#[derive(Clone, Copy)]
pub(crate) struct BlkMode(bindings::blk_mode_t);

impl BlkMode {
    /// Wraps the C value.
    pub(super) fn from_raw(mode: bindings::blk_mode_t) -> Self {
        Self(mode)
    }

    /// Returns whether the device was opened for writing (`BLK_OPEN_WRITE`).
    pub(crate) fn is_write(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_WRITE != 0
    }

    /// Returns whether the device was opened exclusively (`BLK_OPEN_EXCL`).
    pub(crate) fn is_exclusive(self) -> bool {
        self.0 & bindings::RUST_LOOP_CONST_BLK_OPEN_EXCL != 0
    }
}

/// An open disk of driver `T`, or an open partition of one
/// ([`struct block_device`](srctree/include/linux/blk_types.h)).
///
/// # Invariants
///
/// A reference to it implies that it is open.
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::bdev::{
///     BlockDevice,
///     BlkMode, //
/// };
/// use kernel::prelude::*;
///
/// /// Calls `f` while no other file can open the device exclusively.
/// fn exclusively<T>(bdev: &BlockDevice<T>, mode: BlkMode, f: impl FnOnce()) -> Result {
///     let _claim = bdev.claim_unless(mode)?;
///     f();
///     Ok(())
/// }
/// ```
#[repr(transparent)]
pub(crate) struct BlockDevice<T>(Opaque<bindings::block_device>, PhantomData<T>);

impl<T> BlockDevice<T> {
    /// # Safety
    ///
    /// `bdev` must be open for `'a`, and its disk must belong to a
    /// [`GenDiskRegistration<T>`](super::registration::GenDiskRegistration).
    pub(super) unsafe fn from_raw<'a>(bdev: *mut bindings::block_device) -> &'a Self {
        // SAFETY: The representation is transparent. The rest holds by the caller's promise.
        unsafe { &*bdev.cast() }
    }

    /// Returns the disk.
    pub(crate) fn disk(&self) -> &GenDisk<T> {
        // SAFETY: By the type invariant the device is open.
        let disk = unsafe { (*self.0.get()).bd_disk };
        // SAFETY: An open device keeps its disk alive.
        unsafe { GenDisk::from_raw(disk) }
    }

    /// [Claims](Self::claim) the device unless the caller has it open exclusively already, by
    /// `mode`. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another file has it open exclusively.
    pub(crate) fn claim_unless(&self, mode: BlkMode) -> Result<Option<Claim<'_, T>>> {
        if mode.is_exclusive() {
            Ok(None)
        } else {
            self.claim().map(Some)
        }
    }

    /// Prevents other files from opening the device exclusively until the guard is dropped
    /// (`bd_prepare_to_claim()`). Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a file has it open exclusively.
    fn claim(&self) -> Result<Claim<'_, T>> {
        // SAFETY: By the type invariant the device is open. Any address can identify the holder.
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
        // SAFETY: `claim` has claimed the device, with the same holder.
        unsafe { bindings::bd_abort_claiming(self.0 .0.get(), self.0 .0.get().cast()) };
    }
}
