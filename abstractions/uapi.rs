// SPDX-License-Identifier: GPL-2.0

//! What user space passes to a loop device.
//!
//! C header: [`include/uapi/linux/loop.h`](srctree/include/uapi/linux/loop.h)

use super::bindings;
use core::ops::{
    Deref,
    DerefMut, //
};
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

/// Re-exports constants of the C header.
macro_rules! constants {
    ($($name:ident: $t:ty),* $(,)?) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the C header.")]
            pub(crate) const $name: $t = bindings::$name as $t;
        )*
    };
}

constants! {
    LOOP_CLR_FD: u32,
    LOOP_CONFIGURE: u32,
    LOOP_CTL_ADD: u32,
    LOOP_CTL_GET_FREE: u32,
    LOOP_CTL_REMOVE: u32,
    LOOP_GET_STATUS64: u32,
    LOOP_SET_CAPACITY: u32,
    LOOP_SET_FD: u32,
    LOOP_SET_STATUS64: u32,
    LO_KEY_SIZE: usize,
    LO_NAME_SIZE: usize,
}

/// Flags of a loop device (`LO_FLAGS_*`).
pub(crate) mod flags {
    use super::super::bindings;

    /// Writing is refused.
    pub(crate) const READ_ONLY: u32 = bindings::LO_FLAGS_READ_ONLY;
    /// The backing file is let go when the device is closed.
    pub(crate) const AUTOCLEAR: u32 = bindings::LO_FLAGS_AUTOCLEAR;
    /// The device is searched for partitions.
    pub(crate) const PARTSCAN: u32 = bindings::LO_FLAGS_PARTSCAN;
    /// The backing file is read and written past the page cache.
    pub(crate) const DIRECT_IO: u32 = bindings::LO_FLAGS_DIRECT_IO;
}

/// A C structure as user space sees it.
///
/// # Invariants
///
/// `T` is made of integers and arrays of integers and has no padding: any bytes
/// are a value of it, and all its bytes are initialised.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct Uapi<T>(T);

impl<T> Deref for Uapi<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Uapi<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// `struct loop_info64`.
pub(crate) type LoopInfo64 = Uapi<bindings::loop_info64>;
/// `struct loop_config`.
pub(crate) type LoopConfig = Uapi<bindings::loop_config>;

// No padding: the sum of the fields is the size.
const _: () = assert!(size_of::<bindings::loop_info64>() == 5 * 8 + 4 * 4 + 64 + 64 + 32 + 2 * 8);
const _: () =
    assert!(size_of::<bindings::loop_config>() == 2 * 4 + size_of::<bindings::loop_info64>() + 64);

impl LoopConfig {
    /// Returns the part of it that also `LOOP_SET_STATUS64` takes.
    pub(crate) fn info64(&self) -> &LoopInfo64 {
        // SAFETY: The representation is transparent.
        unsafe { &*(&raw const self.0.info).cast() }
    }

    /// Returns what `LOOP_SET_FD` amounts to.
    pub(crate) fn of_fd(fd: u32) -> Self {
        Uapi(bindings::loop_config {
            fd,
            ..Default::default()
        })
    }
}

// SAFETY: See the invariant, and the assertion above.
unsafe impl FromBytes for LoopInfo64 {}
// SAFETY: See the invariant, and the assertion above.
unsafe impl AsBytes for LoopInfo64 {}
// SAFETY: See the invariant, and the assertion above.
unsafe impl FromBytes for LoopConfig {}
