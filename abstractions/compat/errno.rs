// SPDX-License-Identifier: GPL-2.0

//! Error codes that `kernel::error::code` has since Linux 7.3.
//!
//! C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

#[cfg(not(rust_loop_7_2))]
pub(crate) use kernel::error::code::{
    ENAMETOOLONG,
    ENOSYS,
    EOPNOTSUPP, //
};

#[cfg(rust_loop_7_2)]
pub(crate) use self::linux_7_2::*;

#[cfg(rust_loop_7_2)]
mod linux_7_2 {
    use crate::abstractions::bindings;
    use kernel::prelude::*;

    /// File name too long.
    pub(crate) const ENAMETOOLONG: Error = error(bindings::ENAMETOOLONG);
    /// Invalid system call number.
    pub(crate) const ENOSYS: Error = error(bindings::ENOSYS);
    /// Operation not supported on transport endpoint.
    pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);

    const fn error(errno: u32) -> Error {
        // `Error::from_errno` is not `const`.
        //
        // SAFETY: The only field of `Error` is a `NonZeroI32`, and the size is checked here. Its
        // value is a valid `errno`.
        unsafe { core::mem::transmute::<i32, Error>(-(errno as i32)) }
    }
}
