// SPDX-License-Identifier: GPL-2.0

//! Reading and writing a file, at once or asynchronously.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    is_open_for_write,
    BackingFile, //
};
use crate::abstractions::{
    bindings,
    compat::errno::EOPNOTSUPP, //
};
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// How a file is read or written.
///
/// A file that cannot be accessed so refuses with the errno that `open()` and `preadv2()`
/// give: `EINVAL` for `direct`, `EOPNOTSUPP` for `nowait`. Its methods are not called then:
/// they may rely on that.
#[derive(Clone, Copy, Default)]
pub(crate) struct Access {
    /// Past the page cache (`IOCB_DIRECT`).
    pub(crate) direct: bool,
    /// So that what was written is durable when that has been done
    /// (`IOCB_DSYNC`). Means nothing for reading.
    pub(crate) dsync: bool,
    /// Without waiting for data from the device below (`IOCB_NOWAIT`): that is told to
    /// read, mostly, and the call fails with `EAGAIN`. For a file that
    /// [can do that](BackingFile::has_nowait).
    pub(crate) nowait: bool,
    /// The I/O priority (`IOPRIO_PRIO_VALUE`).
    pub(crate) ioprio: u16,
}

impl BackingFile {
    /// Reads at byte `pos`. Returns how much was read and moves `iter` on by as
    /// much; 0 means that the file ends there.
    ///
    /// # Errors
    ///
    /// That of the file, or of [`Access`].
    pub(crate) fn read(
        &self,
        pos: u64,
        iter: &mut IovIterDest<'_>,
        access: Access,
    ) -> Result<usize> {
        let mut iocb = self.kiocb(pos, access)?;
        // SAFETY: `iocb` is for this file and `iter` for reading. It has no completion
        // function, so the call is synchronous and nothing refers to `iocb` or `iter`
        // after it.
        to_len(unsafe { self.submit_read(&mut iocb, iter.as_raw()) })
    }

    /// Writes at byte `pos`. Returns how much was written and moves `iter` on by as
    /// much.
    ///
    /// # Errors
    ///
    /// That of the file, or of [`Access`]; `EBADF` if it is not open for writing.
    pub(crate) fn write(
        &self,
        pos: u64,
        iter: &mut IovIterSource<'_>,
        access: Access,
    ) -> Result<usize> {
        let mut iocb = self.kiocb(pos, access)?;
        // SAFETY: As for `read`, but that `iter` is for writing. Freeze protection is
        // given up again.
        let ret = unsafe {
            let ret = self.submit_write(&mut iocb, iter.as_raw());
            Self::end_write(&mut iocb);
            ret
        };
        to_len(ret)
    }

    /// Returns a control block for an operation at byte `pos`, which is synchronous
    /// as long as there is no completion function in it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no file has such a position, and those of [`Access`].
    pub(in crate::abstractions) fn kiocb(
        &self,
        pos: u64,
        access: Access,
    ) -> Result<bindings::kiocb> {
        let mut ki_flags = 0;
        if access.direct {
            if !self.has_direct() {
                return Err(EINVAL);
            }
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_DIRECT;
        }
        if access.dsync {
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_DSYNC;
        }
        if access.nowait {
            if !self.has_nowait() {
                return Err(EOPNOTSUPP);
            }
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_NOWAIT;
        }
        Ok(bindings::kiocb {
            ki_filp: self.as_ptr(),
            ki_pos: pos.try_into()?,
            ki_flags,
            ki_ioprio: access.ioprio,
            ..Default::default()
        })
    }

    /// Makes `iocb`, which is not in use, one for this file. Any context.
    pub(in crate::abstractions) fn set_file_of(&self, iocb: &mut bindings::kiocb) {
        iocb.ki_filp = self.as_ptr();
    }

    /// Reads what `iter` is for. Returns what `read_iter` does.
    ///
    /// # Safety
    ///
    /// `iocb` must be valid and for this file, `iter` must be valid and for reading.
    /// If `iocb` has a completion function, it and the memory that `iter` goes over
    /// must stay until this has returned and, if that was `-EIOCBQUEUED`, the function
    /// has been called.
    pub(in crate::abstractions) unsafe fn submit_read(
        &self,
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the type invariant the file has this method. The caller vouches
        // for the rest.
        unsafe {
            match (*self.f_op()).read_iter {
                Some(read_iter) => read_iter(iocb, iter),
                None => EINVAL.to_errno() as isize,
            }
        }
    }

    /// Writes what `iter` is for, and protects the filesystem from being frozen
    /// until [`Self::end_write`]. Returns what `write_iter` does; `-EBADF` if the file
    /// is not open for writing.
    ///
    /// # Safety
    ///
    /// As for [`Self::submit_read`], with an `iter` for writing. The caller calls
    /// [`Self::end_write`] when the write has been done, whatever came of it.
    pub(in crate::abstractions) unsafe fn submit_write(
        &self,
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As for `submit_read`; the file is open for writing if the method is
        // called.
        unsafe {
            bindings::rust_loop_helper_kiocb_start_write(iocb);
            match (*self.f_op()).write_iter {
                Some(write_iter) if is_open_for_write(&self.file) => write_iter(iocb, iter),
                _ => EBADF.to_errno() as isize,
            }
        }
    }

    /// Lets the filesystem be frozen again. Any context.
    ///
    /// # Safety
    ///
    /// `iocb` must be valid, and one for which [`Self::submit_write`] was called once
    /// for each call of this; the file of that must be alive.
    pub(in crate::abstractions) unsafe fn end_write(iocb: *mut bindings::kiocb) {
        // SAFETY: By the caller's promise.
        unsafe { bindings::rust_loop_helper_kiocb_end_write(iocb) };
    }
}

/// Returns what `read_iter` and `write_iter` return as a length.
pub(in crate::abstractions) fn to_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as i32))
}
