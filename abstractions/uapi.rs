// SPDX-License-Identifier: GPL-2.0

//! Structures and constants of the user-space interface of loop devices.
//!
//! C header: [`include/uapi/linux/loop.h`](srctree/include/uapi/linux/loop.h)

use super::bindings;
use core::{
    mem::offset_of,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    ffi::c_ulong,
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
    LOOP_CHANGE_FD: u32,
    LOOP_CLR_FD: u32,
    LOOP_CONFIGURE: u32,
    LOOP_CTL_ADD: u32,
    LOOP_CTL_GET_FREE: u32,
    LOOP_CTL_REMOVE: u32,
    LOOP_CTRL_MINOR: u32,
    LOOP_GET_STATUS: u32,
    LOOP_GET_STATUS64: u32,
    LOOP_MAJOR: u32,
    LOOP_SET_BLOCK_SIZE: u32,
    LOOP_SET_CAPACITY: u32,
    LOOP_SET_DIRECT_IO: u32,
    LOOP_SET_FD: u32,
    LOOP_SET_STATUS: u32,
    LOOP_SET_STATUS64: u32,
    LO_KEY_SIZE: usize,
    LO_NAME_SIZE: usize,
}

/// Flags of a loop device (`LO_FLAGS_*`).
pub(crate) mod flags {
    use crate::abstractions::bindings;

    /// The device refuses writes.
    pub(crate) const READ_ONLY: u32 = bindings::LO_FLAGS_READ_ONLY;
    /// The device detaches its backing file when it is closed.
    pub(crate) const AUTOCLEAR: u32 = bindings::LO_FLAGS_AUTOCLEAR;
    /// The block layer scans the device for partitions.
    pub(crate) const PARTSCAN: u32 = bindings::LO_FLAGS_PARTSCAN;
    /// The device uses direct I/O to its backing file.
    pub(crate) const DIRECT_IO: u32 = bindings::LO_FLAGS_DIRECT_IO;
}

/// A C structure of the user-space interface.
///
/// # Invariants
///
/// `T` consists of integers and arrays of integers, without padding. Any bytes are therefore a
/// valid value, and all bytes of a value are initialised.
///
/// # Examples
///
/// ```
/// use crate::abstractions::uapi::{
///     flags,
///     LoopInfo,
///     LoopInfo64, //
/// };
/// use kernel::prelude::*;
///
/// /// Returns the old form of a request for a read-only device.
/// fn read_only() -> Result<LoopInfo> {
///     let mut info = LoopInfo64::default();
///     info.lo_flags = flags::READ_ONLY;
///     LoopInfo::try_from_info64(&info)
/// }
/// ```
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
/// `struct loop_info`, the form without 64-bit sizes.
pub(crate) type LoopInfo = Uapi<NativeLoopInfo>;
/// `struct loop_info` of a 32-bit process.
pub(crate) type CompatLoopInfo = Uapi<Compat32LoopInfo>;

/// Defines a structure, and asserts that its fields have all of its bytes.
macro_rules! without_padding {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$field_meta:meta])* $vis:vis $field:ident: $t:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Default)]
        pub(crate) struct $name {
            $($(#[$field_meta])* $vis $field: $t,)*
        }

        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$t>())*);
    };
}

/// Padding behind a field of type `$t` of [`bindings::loop_info`], which depends on the architecture.
macro_rules! gap {
    ($field:ident: $t:ty, $next:ident) => {
        [u8; offset_of!(bindings::loop_info, $next)
            - offset_of!(bindings::loop_info, $field)
            - size_of::<$t>()]
    };
}

/// `lo_device` and `lo_rdevice` of a native process.
type OldDev = bindings::__kernel_old_dev_t;
/// `lo_device` and `lo_rdevice` of a 32-bit process.
type CompatDev = bindings::compat_dev_t;
/// Padding behind a `CompatDev`. The next field is aligned to 4 bytes.
type CompatGap = [u8; 4 - size_of::<CompatDev>()];

without_padding! {
    /// [`bindings::loop_info`] with names for its padding.
    ///
    /// [`include/uapi/linux/loop.h`](srctree/include/uapi/linux/loop.h) describes the fields.
    /// Offsets are in bytes.
    NativeLoopInfo {
        pub(crate) lo_number: i32,
        gap0: gap!(lo_number: i32, lo_device),
        pub(crate) lo_device: OldDev,
        gap1: gap!(lo_device: OldDev, lo_inode),
        pub(crate) lo_inode: c_ulong,
        pub(crate) lo_rdevice: OldDev,
        gap2: gap!(lo_rdevice: OldDev, lo_offset),
        pub(crate) lo_offset: i32,
        pub(crate) lo_encrypt_type: i32,
        pub(crate) lo_encrypt_key_size: i32,
        pub(crate) lo_flags: i32,
        pub(crate) lo_name: [[u8; 32]; 2],
        pub(crate) lo_encrypt_key: [u8; 32],
        gap3: gap!(lo_encrypt_key: [u8; 32], lo_init),
        pub(crate) lo_init: [c_ulong; 2],
        reserved: [u8; 4],
        gap4: [u8; size_of::<bindings::loop_info>()
            - offset_of!(bindings::loop_info, reserved)
            - 4],
    }
}

without_padding! {
    /// Form of [`NativeLoopInfo`] for a 32-bit process (`struct compat_loop_info` of the C
    /// driver).
    Compat32LoopInfo {
        pub(crate) lo_number: i32,
        pub(crate) lo_device: CompatDev,
        gap0: CompatGap,
        pub(crate) lo_inode: u32,
        pub(crate) lo_rdevice: CompatDev,
        gap1: CompatGap,
        pub(crate) lo_offset: i32,
        pub(crate) lo_encrypt_type: i32,
        pub(crate) lo_encrypt_key_size: i32,
        pub(crate) lo_flags: i32,
        pub(crate) lo_name: [[u8; 32]; 2],
        pub(crate) lo_encrypt_key: [u8; 32],
        pub(crate) lo_init: [u32; 2],
        reserved: [u8; 4],
    }
}

/// Asserts that fields of two structures are at the same offsets, and that the sizes are equal.
macro_rules! assert_layout {
    ($ours:ty, $theirs:ty, $($field:ident),* $(,)?) => {
        const _: () = assert!(
            size_of::<$ours>() == size_of::<$theirs>()
                $(&& offset_of!($ours, $field) == offset_of!($theirs, $field))*
        );
    };
}

assert_layout!(
    NativeLoopInfo,
    bindings::loop_info,
    lo_number,
    lo_device,
    lo_inode,
    lo_rdevice,
    lo_offset,
    lo_encrypt_type,
    lo_encrypt_key_size,
    lo_flags,
    lo_name,
    lo_encrypt_key,
    lo_init,
    reserved,
);
// The layout that all 32-bit processes have, whatever the size of `CompatDev`.
const _: () = assert!(
    offset_of!(Compat32LoopInfo, lo_device) == 4
        && offset_of!(Compat32LoopInfo, lo_inode) == 8
        && offset_of!(Compat32LoopInfo, lo_rdevice) == 12
        && offset_of!(Compat32LoopInfo, lo_offset) == 16
        && offset_of!(Compat32LoopInfo, lo_flags) == 28
        && offset_of!(Compat32LoopInfo, lo_name) == 32
        && offset_of!(Compat32LoopInfo, lo_encrypt_key) == 96
        && offset_of!(Compat32LoopInfo, lo_init) == 128
        && offset_of!(Compat32LoopInfo, reserved) == 136
        && size_of::<Compat32LoopInfo>() == 140
);

/// Implements conversions between a `struct loop_info` and a `struct loop_info64`.
macro_rules! old_info {
    ($name:ident) => {
        impl $name {
            /// Converts to the 64-bit form. Fields that this form lacks are 0.
            pub(crate) fn to_info64(&self) -> LoopInfo64 {
                let mut info = LoopInfo64::default();
                // A negative offset becomes an offset that is too large.
                info.lo_offset = self.lo_offset as u64;
                info.lo_flags = self.lo_flags as u32;
                info.lo_file_name
                    .copy_from_slice(self.lo_name.as_flattened());
                info
            }

            /// Converts from the 64-bit form.
            ///
            /// # Errors
            ///
            /// `EOVERFLOW` if a value does not fit.
            pub(crate) fn try_from_info64(info: &LoopInfo64) -> Result<Self> {
                let mut old = Self::default();
                old.lo_number = info.lo_number as i32;
                old.lo_device = info.lo_device.try_into().map_err(|_| EOVERFLOW)?;
                old.lo_inode = info.lo_inode.try_into().map_err(|_| EOVERFLOW)?;
                old.lo_rdevice = info.lo_rdevice.try_into().map_err(|_| EOVERFLOW)?;
                old.lo_offset = info.lo_offset.try_into().map_err(|_| EOVERFLOW)?;
                old.lo_flags = info.lo_flags as i32;
                old.lo_name
                    .as_flattened_mut()
                    .copy_from_slice(&info.lo_file_name);
                Ok(old)
            }
        }

        // SAFETY: By the type invariant, which the assertions above check.
        unsafe impl FromBytes for $name {}
        // SAFETY: By the type invariant, which the assertions above check.
        unsafe impl AsBytes for $name {}
    };
}

old_info!(LoopInfo);
old_info!(CompatLoopInfo);

// No padding: the sum of the fields is the size.
const _: () = assert!(size_of::<bindings::loop_info64>() == 5 * 8 + 4 * 4 + 64 + 64 + 32 + 2 * 8);
const _: () =
    assert!(size_of::<bindings::loop_config>() == 2 * 4 + size_of::<bindings::loop_info64>() + 64);

impl LoopConfig {
    /// Returns the part that `LOOP_SET_STATUS64` takes as well.
    pub(crate) fn info64(&self) -> &LoopInfo64 {
        // SAFETY: The representation is transparent.
        unsafe { &*(&raw const self.0.info).cast() }
    }
}

impl LoopInfo64 {
    /// All fields 0, which asks for nothing.
    pub(crate) const ZERO: &Self = &{
        // SAFETY: Zeroes are a valid value of integers.
        Uapi(unsafe { core::mem::zeroed() })
    };
}

// SAFETY: By the type invariant, which the assertions above check.
unsafe impl FromBytes for LoopInfo64 {}
// SAFETY: By the type invariant, which the assertions above check.
unsafe impl AsBytes for LoopInfo64 {}
// SAFETY: By the type invariant, which the assertions above check.
unsafe impl FromBytes for LoopConfig {}
