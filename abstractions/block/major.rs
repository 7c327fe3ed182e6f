// SPDX-License-Identifier: GPL-2.0

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::bindings;
use kernel::prelude::*;

/// A major number that belongs to the driver while this lives.
///
/// # Invariants
///
/// `major` is registered under `name`.
pub(crate) struct BlockMajor {
    major: u32,
    name: &'static CStr,
}

impl BlockMajor {
    /// Registers a major number that is free. `name` appears in
    /// `/proc/devices`. May sleep.
    pub(crate) fn register_dynamic(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a NUL-terminated string.
        let ret = unsafe { bindings::__register_blkdev(0, name.as_char_ptr(), None) };
        // INVARIANT: A positive return is the number that was registered.
        Ok(Self {
            major: u32::try_from(ret).map_err(|_| Error::from_errno(ret))?,
            name,
        })
    }

    /// Returns the number.
    pub(crate) fn number(&self) -> u32 {
        self.major
    }
}

impl Drop for BlockMajor {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the number is ours.
        unsafe { bindings::unregister_blkdev(self.major, self.name.as_char_ptr()) };
    }
}
