// SPDX-License-Identifier: GPL-2.0

//! Results of requests.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use crate::abstractions::bindings;
use kernel::prelude::*;

/// Result of a request ([`blk_status_t`](srctree/include/linux/blk_types.h)).
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::mq::BlkStatus;
/// use kernel::prelude::*;
///
/// fn status(result: Result) -> BlkStatus {
///     match result {
///         Ok(()) => BlkStatus::OK,
///         Err(err) => err.into(),
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlkStatus(bindings::blk_status_t);

impl BlkStatus {
    /// Success.
    pub(crate) const OK: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_OK);
    /// Operation that the device does not support.
    pub(crate) const NOTSUPP: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_NOTSUPP);
    /// I/O error.
    pub(crate) const IOERR: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_IOERR);

    /// Returns the C value.
    pub(super) const fn as_raw(self) -> bindings::blk_status_t {
        self.0
    }
}

impl From<Error> for BlkStatus {
    /// Translates the error of a file or block device for the submitter of a bio.
    ///
    /// Errors that block devices report are kept, and so are errors for a lack of space or
    /// memory. All others become an I/O error, for one of three reasons:
    ///
    /// - A filesystem above treats them as an I/O error anyway.
    /// - `EAGAIN`, `EBUSY`, `EOPNOTSUPP` and `EINVAL` tell the submitter to submit the bio again,
    ///   or in another way.
    /// - `EREMCHG`, `ETOOMANYREFS` and `EOVERFLOW` stand for states of the block layer
    ///   (`BLK_STS_DM_REQUEUE`, `BLK_STS_ZONE_*`), which a file cannot be in.
    fn from(err: Error) -> Self {
        let errno = match err.to_errno().unsigned_abs() {
            // Quota of the owner of the file. Filesystems on a full disk report `ENOSPC`, too.
            bindings::ENOSPC | bindings::EDQUOT => bindings::ENOSPC,
            errno @ (bindings::ENOMEM
            | bindings::ETIMEDOUT
            | bindings::ETIME
            | bindings::ENOLINK
            | bindings::EREMOTEIO
            | bindings::EBADE
            | bindings::ENODATA
            | bindings::EILSEQ
            | bindings::ENODEV) => errno,
            _ => bindings::EIO,
        };
        // SAFETY: A table lookup without preconditions.
        Self(unsafe { bindings::errno_to_blk_status(-(errno as i32)) })
    }
}

#[kunit_tests(rust_loop_status)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_errors() {
        // (errno of the file, errno for the submitter)
        let table = [
            (bindings::ENOSPC, bindings::ENOSPC),
            (bindings::EDQUOT, bindings::ENOSPC),
            (bindings::ENOMEM, bindings::ENOMEM),
            (bindings::ETIMEDOUT, bindings::ETIMEDOUT),
            (bindings::ENODEV, bindings::ENODEV),
            (bindings::EILSEQ, bindings::EILSEQ),
            (bindings::EIO, bindings::EIO),
            (bindings::EROFS, bindings::EIO),
            (bindings::ESTALE, bindings::EIO),
            (bindings::EUCLEAN, bindings::EIO),
            // States of the block layer.
            (bindings::EAGAIN, bindings::EIO),
            (bindings::EBUSY, bindings::EIO),
            (bindings::EINVAL, bindings::EIO),
            (bindings::EOPNOTSUPP, bindings::EIO),
            (bindings::EREMCHG, bindings::EIO),
            (bindings::ETOOMANYREFS, bindings::EIO),
            (bindings::EOVERFLOW, bindings::EIO),
        ];
        for (errno, expected) in table {
            let BlkStatus(status) = Error::from_errno(-(errno as i32)).into();
            // SAFETY: A table lookup of a status that comes from the same table.
            let told = unsafe { bindings::blk_status_to_errno(status) };
            assert_eq!(told, -(expected as i32));
        }
    }
}
