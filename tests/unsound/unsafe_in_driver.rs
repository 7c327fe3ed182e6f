// SPDX-License-Identifier: GPL-2.0
//! The driver has no unsafe code.

fn misuse(pointer: *const u32) -> u32 {
    // SAFETY: None.
    unsafe { *pointer } //~ unsafe_code
}
