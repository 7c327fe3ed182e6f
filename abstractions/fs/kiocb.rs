// SPDX-License-Identifier: GPL-2.0

//! Reading and writing a file, synchronously or asynchronously.
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

/// Options of a read or write (`IOCB_*`).
///
/// A file that does not support an option refuses with the errno of `open()` and `preadv2()`:
/// `EINVAL` for `direct`, `EOPNOTSUPP` for `nowait`. Its methods are not called then, because they
/// may rely on that.
#[derive(Clone, Copy, Default)]
pub(crate) struct RwOptions {
    /// Bypass the page cache (`IOCB_DIRECT`).
    pub(crate) direct: bool,
    /// Make written data durable before the write is done (`IOCB_DSYNC`). No effect on reads.
    pub(crate) dsync: bool,
    /// Fail with `EAGAIN` instead of waiting for data from the device below (`IOCB_NOWAIT`). Most
    /// filesystems start to read the data. A direct write also fails if it would wait for a lock, if
    /// pages of the range are cached, or on ext4 if it would begin a transaction before its I/O;
    /// some of this gives `EOPNOTSUPP`. For files that [support this](BackingFile::has_nowait).
    pub(crate) nowait: bool,
    /// I/O priority (`IOPRIO_PRIO_VALUE()`).
    pub(crate) ioprio: u16,
}

impl BackingFile {
    /// Reads at byte `pos`. Returns the number of bytes, by which `iter` is advanced. 0 means that
    /// the file ends at `pos`.
    ///
    /// # Errors
    ///
    /// That of the file, or of [`RwOptions`].
    ///
    /// # Examples
    ///
    /// ```
    /// use crate::abstractions::{
    ///     block::bvecs::Zeroes,
    ///     fs::{
    ///         kiocb::RwOptions,
    ///         BackingFile, //
    ///     },
    /// };
    /// use kernel::prelude::*;
    ///
    /// /// Writes 512 zeroes, and makes them durable.
    /// fn zero(file: &BackingFile, pos: u64) -> Result<usize> {
    ///     let zeroes = Zeroes::new();
    ///     let options = RwOptions {
    ///         dsync: true,
    ///         ..RwOptions::default()
    ///     };
    ///     file.write(pos, zeroes.chunk(512).as_source(), options)
    /// }
    /// ```
    pub(crate) fn read(
        &self,
        pos: u64,
        iter: &mut IovIterDest<'_>,
        options: RwOptions,
    ) -> Result<usize> {
        let mut iocb = self.kiocb(pos, options)?;
        // SAFETY: `iocb` is for this file, and `iter` is a destination. Without a completion
        // function the call is synchronous, so nothing refers to `iocb` or `iter` after it.
        to_len(unsafe { self.submit_read(&mut iocb, iter.as_raw()) })
    }

    /// Writes at byte `pos`. Returns the number of bytes, by which `iter` is advanced.
    ///
    /// # Errors
    ///
    /// That of the file, or of [`RwOptions`]; `EBADF` if it is not open for writing.
    pub(crate) fn write(
        &self,
        pos: u64,
        iter: &mut IovIterSource<'_>,
        options: RwOptions,
    ) -> Result<usize> {
        let mut iocb = self.kiocb(pos, options)?;
        // SAFETY: As for `read`, with a source. `end_write` is called below.
        let ret = unsafe { self.submit_write(&mut iocb, iter.as_raw()) };
        // SAFETY: The write has been submitted, once.
        unsafe { Self::end_write(&mut iocb) };
        to_len(ret)
    }

    /// Returns a control block for an operation at byte `pos`. The operation is synchronous unless
    /// the caller adds a completion function.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no file has such a position, and those of [`RwOptions`].
    pub(in crate::abstractions) fn kiocb(
        &self,
        pos: u64,
        options: RwOptions,
    ) -> Result<bindings::kiocb> {
        let mut ki_flags = 0;
        if options.direct {
            if !self.has_direct() {
                return Err(EINVAL);
            }
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_DIRECT;
        }
        if options.dsync {
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_DSYNC;
        }
        if options.nowait {
            if !self.has_nowait() {
                return Err(EOPNOTSUPP);
            }
            ki_flags |= bindings::RUST_LOOP_CONST_IOCB_NOWAIT;
        }
        Ok(bindings::kiocb {
            ki_filp: self.as_ptr(),
            ki_pos: pos.try_into()?,
            ki_flags,
            ki_ioprio: options.ioprio,
            ..Default::default()
        })
    }

    /// Reads into the memory of `iter`. Returns the result of `read_iter`.
    ///
    /// # Safety
    ///
    /// - `iocb` must be valid and for this file, `iter` must be valid and a destination.
    /// - If `iocb` has a completion function, `iocb` and the memory of `iter` must stay until this
    ///   has returned. If the result is `-EIOCBQUEUED`, they must stay until the completion
    ///   function has been called.
    pub(in crate::abstractions) unsafe fn submit_read(
        &self,
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The file is alive.
        let Some(read_iter) = (unsafe { (*self.f_op()).read_iter }) else {
            // By the type invariant the file has this method.
            return EINVAL.to_errno() as isize;
        };
        // SAFETY: By the caller's promise.
        unsafe { read_iter(iocb, iter) }
    }

    /// Writes from the memory of `iter`, and protects the filesystem from being frozen until
    /// [`Self::end_write`]. Returns the result of `write_iter`; `-EBADF` if the file is not open for
    /// writing.
    ///
    /// # Safety
    ///
    /// As for [`Self::submit_read`], with a source. The caller must call [`Self::end_write`] when
    /// the write is done or has failed.
    pub(in crate::abstractions) unsafe fn submit_write(
        &self,
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the caller's promise `iocb` is valid and for this file.
        unsafe { bindings::rust_loop_helper_kiocb_start_write(iocb) };
        // SAFETY: The file is alive.
        match unsafe { (*self.f_op()).write_iter } {
            Some(write_iter) if is_open_for_write(&self.file) => {
                // SAFETY: By the caller's promise. The file is open for writing.
                unsafe { write_iter(iocb, iter) }
            }
            _ => EBADF.to_errno() as isize,
        }
    }

    /// Allows freezing the filesystem again. Any context.
    ///
    /// # Safety
    ///
    /// - `iocb` must be valid, and its file must be alive.
    /// - [`Self::submit_write`] must have been called with it, once for each call of this.
    pub(in crate::abstractions) unsafe fn end_write(iocb: *mut bindings::kiocb) {
        // SAFETY: By the caller's promise.
        unsafe { bindings::rust_loop_helper_kiocb_end_write(iocb) };
    }
}

/// Converts the result of `read_iter` or `write_iter`.
pub(in crate::abstractions) fn to_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as i32))
}
