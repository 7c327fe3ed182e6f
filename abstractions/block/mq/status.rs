// SPDX-License-Identifier: GPL-2.0

//! The outcome of a request.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use crate::abstractions::bindings;
use kernel::prelude::*;

/// The outcome of a request (`blk_status_t`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlkStatus(pub(super) bindings::blk_status_t);

impl BlkStatus {
    /// Success.
    pub(crate) const OK: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_OK);
    /// The device cannot do this.
    pub(crate) const NOTSUPP: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_NOTSUPP);
    /// The device failed to do this.
    pub(crate) const IOERR: Self = Self(bindings::RUST_LOOP_CONST_BLK_STS_IOERR);
}

impl From<Error> for BlkStatus {
    /// Translates the error of a file or block device for the submitter of a bio.
    ///
    /// An errno that block devices use passes, as does one for a lack of space or memory. All
    /// else is an I/O error. It would be one to a filesystem above, which knows no other; or it
    /// would mean something else there: `EAGAIN`, `EBUSY`, `EOPNOTSUPP` and `EINVAL` tell the
    /// submitter to submit the bio again, or in another way, and `EREMCHG`, `ETOOMANYREFS` and
    /// `EOVERFLOW` stand for states of the block layer (`BLK_STS_DM_REQUEUE`,
    /// `BLK_STS_ZONE_*`), which no file knows.
    fn from(err: Error) -> Self {
        let errno = match err.to_errno().unsigned_abs() {
            // A limit of the user that the file belongs to; filesystems say so as well.
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
        // SAFETY: A table lookup; has no preconditions.
        Self(unsafe { bindings::errno_to_blk_status(-(errno as i32)) })
    }
}

#[kunit_tests(rust_loop_status)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_errors() {
        // (errno of the file, that of the submitter)
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
