// SPDX-License-Identifier: GPL-2.0

//! The settings of a device that user space passes: offset, size limit, file name, and flags.

use crate::abstractions::uapi::{
    flags,
    LoopInfo64,
    LO_KEY_SIZE,
    LO_NAME_SIZE, //
};
use kernel::{
    pr_warn_once,
    prelude::*, //
};

/// The flags that `LOOP_CONFIGURE` may set.
const CONFIGURE_SETTABLE: u32 =
    flags::READ_ONLY | flags::AUTOCLEAR | flags::PARTSCAN | flags::DIRECT_IO;
/// The flags that `LOOP_SET_STATUS64` may set.
const STATUS_SETTABLE: u32 = flags::AUTOCLEAR | flags::PARTSCAN;
/// The flags that `LOOP_SET_STATUS64` clears unless it sets them.
const STATUS_CLEARABLE: u32 = flags::AUTOCLEAR;

/// No encryption, the only supported type.
const LO_CRYPT_NONE: u32 = 0;
/// Encryption types that the C driver no longer supports.
const LO_CRYPT_XOR: u32 = 1;
const LO_CRYPT_CRYPTOAPI: u32 = 18;

/// The name of the backing file that user space has set, NUL-terminated.
pub(crate) type FileName = [u8; LO_NAME_SIZE];

/// Validated settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The position in the file at which the device begins, in bytes. Fits a `loff_t`.
    pub(crate) offset: u64,
    /// The maximum size of the device, in bytes; 0 for no limit. Fits a `loff_t`.
    pub(crate) size_limit: u64,
    /// The name of the backing file.
    pub(crate) file_name: FileName,
}

impl Settings {
    /// Validates the settings that user space has passed.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they select encryption, `EOVERFLOW` if a number does not fit a `loff_t`.
    pub(crate) fn new(info: &LoopInfo64) -> Result<Self> {
        if info.lo_encrypt_key_size > LO_KEY_SIZE as u32 {
            return Err(EINVAL);
        }
        match info.lo_encrypt_type {
            LO_CRYPT_NONE => (),
            LO_CRYPT_XOR | LO_CRYPT_CRYPTOAPI => {
                pr_warn_once!("encryption by a loop device is history, use dm-crypt\n");
                return Err(EINVAL);
            }
            _ => return Err(EINVAL),
        }
        if i64::try_from(info.lo_offset).is_err() || i64::try_from(info.lo_sizelimit).is_err() {
            return Err(EOVERFLOW);
        }
        let mut file_name = info.lo_file_name;
        if let Some(last) = file_name.last_mut() {
            *last = 0;
        }
        Ok(Self {
            offset: info.lo_offset,
            size_limit: info.lo_sizelimit,
            file_name,
        })
    }

    /// Returns whether the two settings select different parts of the file.
    pub(crate) fn differs_in_range(&self, other: &Self) -> bool {
        (self.offset, self.size_limit) != (other.offset, other.size_limit)
    }
}

/// Returns the flags for configuring a device with `info`.
///
/// # Errors
///
/// `EINVAL` if `info` has a flag that cannot be set.
pub(crate) fn flags_to_configure(info: &LoopInfo64) -> Result<u32> {
    if info.lo_flags & !CONFIGURE_SETTABLE != 0 {
        return Err(EINVAL);
    }
    Ok(info.lo_flags)
}

/// Returns the flags of a device with the flags `old` after `LOOP_SET_STATUS64` with the flags
/// `asked`. Flags that cannot be set are ignored.
pub(crate) fn flags_to_set(old: u32, asked: u32) -> u32 {
    (old & !STATUS_CLEARABLE) | (asked & STATUS_SETTABLE)
}

#[kunit_tests(rust_loop_settings)]
mod tests {
    use super::*;

    fn info(offset: u64, size_limit: u64) -> LoopInfo64 {
        let mut info = LoopInfo64::default();
        info.lo_offset = offset;
        info.lo_sizelimit = size_limit;
        info
    }

    #[test]
    fn settings_ranges() {
        const MAX: u64 = i64::MAX as u64;
        // (offset, size limit, whether it is valid)
        let table = [
            (0, 0, true),
            (1, 1, true),
            (MAX, 0, true),
            (0, MAX, true),
            (MAX, MAX, true),
            (MAX + 1, 0, false),
            (0, MAX + 1, false),
            (u64::MAX, 0, false),
            (0, u64::MAX, false),
        ];
        for (offset, size_limit, valid) in table {
            match Settings::new(&info(offset, size_limit)) {
                Ok(settings) => {
                    assert!(valid);
                    assert_eq!(settings.offset, offset);
                    assert_eq!(settings.size_limit, size_limit);
                }
                Err(err) => {
                    assert!(!valid);
                    assert!(err == EOVERFLOW);
                }
            }
        }
    }

    #[test]
    fn settings_encryption() {
        // (type, key size, whether it is valid)
        let table = [
            (0, 0, true),
            (0, 32, true),
            (0, 33, false),
            (0, u32::MAX, false),
            (1, 0, false),
            (2, 0, false),
            (18, 0, false),
            (u32::MAX, 0, false),
        ];
        for (kind, key_size, valid) in table {
            let mut info = info(0, 0);
            info.lo_encrypt_type = kind;
            info.lo_encrypt_key_size = key_size;
            assert!(Settings::new(&info).is_ok() == valid);
        }
    }

    #[test]
    fn settings_name_is_terminated() {
        let mut info = info(0, 0);
        info.lo_file_name = [b'x'; LO_NAME_SIZE];
        let name = Settings::new(&info).map(|settings| settings.file_name);
        assert!(matches!(name, Ok(name) if name.last() == Some(&0) && name.first() == Some(&b'x')));
    }

    #[test]
    fn flags_that_can_be_set() {
        for bit in 0..32 {
            let mut info = info(0, 0);
            info.lo_flags = 1 << bit;
            let known = matches!(1 << bit, 1 | 4 | 8 | 16);
            assert!(flags_to_configure(&info).is_ok() == known);
        }
        // (old, asked, expected)
        let table = [
            (0, 0, 0),
            (0, u32::MAX, flags::AUTOCLEAR | flags::PARTSCAN),
            (flags::AUTOCLEAR, 0, 0),
            (flags::PARTSCAN, 0, flags::PARTSCAN),
            (flags::READ_ONLY, 0, flags::READ_ONLY),
            (0, flags::READ_ONLY, 0),
        ];
        for (old, asked, expected) in table {
            assert_eq!(flags_to_set(old, asked), expected);
        }
    }
}
