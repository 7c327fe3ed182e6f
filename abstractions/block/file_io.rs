// SPDX-License-Identifier: GPL-2.0

//! Asynchronous I/O between the memory of a request and a file.
//!
//! [`Request::submit_file_io`] gives a request to a file. It comes back once, in [`FileIo::done`],
//! in the context in which the filesystem completes the I/O. This may be an interrupt. Work that
//! remains after that and may sleep is deferred by [`Request::defer`] to [`FileIo::resume`].
//!
//! The state of the I/O is in the scratch area behind the request: a [`KiocbPdu`] while the file
//! owns the request, later a [`DeferredPdu`] in its place. The bvecs of a request with many bios do
//! not fit there; they are stored in an array from a memory pool, see [`BvecArrays`].
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::{
    bvecs::{
        bio_iter,
        Dest,
        Direction,
        Source, //
    },
    mq::{
        Op,
        Operations,
        PduVariant,
        Request,
        RequestRef, //
    },
};
use crate::abstractions::{
    bindings,
    fs::{
        kiocb::{
            to_len,
            RwOptions, //
        },
        BackingFile, //
    },
    mempool::MemPool,
    workqueue::OwnedQueue, //
};
use core::{
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ptr::NonNull, //
};
use kernel::{
    container_of, ffi,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full, //
    },
};

/// Number of bvecs that fit in the scratch area. A request with a single bio needs none of them.
const INLINE_BVECS: usize = 4;
/// Largest number of bvecs of asynchronous I/O: that of a request with the block layer's default
/// limits (`BLK_MAX_SEGMENTS`).
const MAX_BVECS: usize = 128;
/// Number of arrays in reserve.
const RESERVED_ARRAYS: u32 = 2;

type BvecArray = [bindings::bio_vec; MAX_BVECS];

/// Driver data of a request that can be submitted to a file.
///
/// # Examples
///
/// A request that was read from or written to a file, and is ended without further work:
///
/// ```
/// use crate::abstractions::{
///     block::{
///         file_io::{
///             BvecArrays,
///             FileIo, //
///         },
///         mq::{
///             BlkStatus,
///             NewRequest,
///             Operations,
///             Request,
///             RequestRef, //
///         },
///     },
///     fs::{
///         kiocb::RwOptions,
///         BackingFile, //
///     },
///     workqueue::OwnedQueue,
/// };
/// use kernel::{
///     prelude::*,
///     sync::{
///         Arc,
///         ArcBorrow, //
///     },
/// };
///
/// struct Device {
///     file: BackingFile,
///     arrays: BvecArrays,
///     queue: OwnedQueue,
/// }
///
/// struct Cmd(Arc<Device>);
///
/// impl Operations for Cmd {
///     type QueueData = Device;
///     type RequestData = Cmd;
///
///     fn queue_rq(
///         _device: ArcBorrow<'_, Device>,
///         _queue_num: u32,
///         rq: NewRequest<Self>,
///         _is_last: bool,
///     ) {
///         // A driver would queue the request to a thread, which calls `submit`.
///         rq.end(BlkStatus::IOERR);
///     }
/// }
///
/// impl FileIo<Cmd> for Cmd {
///     fn file(&self) -> &BackingFile {
///         &self.0.file
///     }
///
///     fn arrays(&self) -> &BvecArrays {
///         &self.0.arrays
///     }
///
///     fn queue(&self, _rq: &RequestRef) -> &OwnedQueue {
///         &self.0.queue
///     }
///
///     fn done(rq: Request<Cmd>, result: Result<usize>) {
///         match result {
///             Ok(n) if n == rq.bytes() as usize => rq.complete(BlkStatus::OK),
///             _ => rq.defer(),
///         }
///     }
///
///     fn resume(rq: Request<Cmd>) {
///         rq.end(BlkStatus::IOERR);
///     }
/// }
///
/// /// Submits a request.
/// fn submit(rq: Request<Cmd>) {
///     let pos = rq.offset_bytes();
///     if let Err(rq) = rq.submit_file_io(pos, RwOptions::default()) {
///         rq.end(BlkStatus::IOERR);
///     }
/// }
/// ```
pub(crate) trait FileIo<T: Operations<RequestData = Self>>: Send + Sync + 'static {
    /// Returns the file.
    fn file(&self) -> &BackingFile;

    /// Returns the pool of arrays for bvecs.
    fn arrays(&self) -> &BvecArrays;

    /// Returns the workqueue for [deferred](Request::defer) work of `rq`. It must have a rescuer,
    /// because reclaim may wait for that work.
    fn queue(&self, rq: &RequestRef) -> &OwnedQueue;

    /// Called when the I/O has been done, with the number of bytes or the error of the file. Any
    /// context: must not sleep. This may be one of many nested callbacks, so the request is ended by
    /// [`Request::complete`].
    fn done(rq: Request<T>, result: Result<usize>);

    /// Called for a [deferred](Request::defer) request. Process context of a kernel thread,
    /// may sleep.
    fn resume(rq: Request<T>);
}

/// Pool of arrays for the bvecs of requests.
///
/// One pool is enough for all devices, because no device waits for an array.
pub(crate) struct BvecArrays(MemPool<BvecArray>);

impl BvecArrays {
    /// Creates the pool. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(MemPool::new(RESERVED_ARRAYS)?))
    }
}

/// I/O in flight, in the scratch area of its request.
///
/// # Invariants
///
/// - `refs` counts the users of the request and of this: the submitter and, from submission on, the
///   file until it calls the completion callback. The last user owns both.
/// - `pooled_bvecs` is an array of a [`BvecArrays`].
/// - While there are users the driver's data are not changed.
struct KiocbPdu {
    iocb: bindings::kiocb,
    refs: Atomic<i32>,
    result: isize,
    is_write: bool,
    pooled_bvecs: Option<NonNull<MaybeUninit<BvecArray>>>,
    inline_bvecs: [MaybeUninit<bindings::bio_vec>; INLINE_BVECS],
}

// SAFETY: No field needs to be dropped. `finish_file_io` gives `pooled_bvecs` back.
unsafe impl PduVariant for KiocbPdu {}

/// Deferred work, in the scratch area of its request.
struct DeferredPdu {
    work: bindings::work_struct,
}

// SAFETY: The field does not need to be dropped.
unsafe impl PduVariant for DeferredPdu {}

/// Place of the bvecs of a request.
#[derive(Clone, Copy)]
enum Bvecs {
    /// The table of the only bio, which is used in place.
    InBio(NonNull<bindings::bio>),
    /// [`KiocbPdu::inline_bvecs`].
    Inline,
    /// An array of the pool.
    Pooled(NonNull<MaybeUninit<BvecArray>>),
}

impl<T: Operations> Request<T>
where
    T::RequestData: FileIo<T>,
{
    /// Reads or writes the request's memory, from byte `pos` of its file, and calls
    /// [`FileIo::done`] when that is done: before or after this function returns.
    ///
    /// Process context; sleeps, and enters the filesystem.
    ///
    /// # Errors
    ///
    /// The request comes back if
    ///
    /// - there is no memory for its bvecs, or it has too many of them,
    /// - it is neither a read nor a write, or
    /// - the file does not support `options`, see [`RwOptions`].
    pub(crate) fn submit_file_io(self, pos: u64, options: RwOptions) -> Result<(), Self> {
        let is_write = match self.op() {
            Op::Read => false,
            Op::Write => true,
            _ => return Err(self),
        };
        // On failure the request goes back to the caller, until it is submitted.
        let this = ManuallyDrop::new(self);
        // A single reference is used, because another call might return another file.
        let file = this.data().file();
        let Ok(iocb) = file.kiocb(pos, options) else {
            return Err(ManuallyDrop::into_inner(this));
        };
        let Some(bvecs) = this.place_bvecs() else {
            return Err(ManuallyDrop::into_inner(this));
        };
        let pdu = this.write_pdu(iocb, is_write, bvecs);
        let iter = if is_write {
            // SAFETY: The request is a write, and has a `KiocbPdu` for `bvecs`.
            unsafe { this.fill_bvecs::<Source>(bvecs) }
        } else {
            // SAFETY: The request is a read, and has a `KiocbPdu` for `bvecs`.
            unsafe { this.fill_bvecs::<Dest>(bvecs) }
        };
        // SAFETY: The request is given up, and its PDU has just been written. The data of the
        // request, and with them the file, stay while the submitter is a user.
        unsafe { Self::submit(file, pdu, iter) };
        Ok(())
    }

    /// Finds memory for the bvecs of a read or write. `None` if there is none.
    fn place_bvecs(&self) -> Option<Bvecs> {
        if let Some(bio) = self.only_bio() {
            return Some(Bvecs::InBio(bio));
        }
        let nr = self.nr_bvecs();
        if nr <= INLINE_BVECS {
            Some(Bvecs::Inline)
        } else if nr <= MAX_BVECS {
            self.data().arrays().0.alloc().map(Bvecs::Pooled)
        } else {
            None
        }
    }

    /// Initialises the [`KiocbPdu`] of the request, except for `inline_bvecs`. Copying these would
    /// cost as much as all the rest.
    fn write_pdu(&self, mut iocb: bindings::kiocb, is_write: bool, bvecs: Bvecs) -> *mut KiocbPdu {
        iocb.ki_complete = Some(Self::kiocb_callback);
        let pooled_bvecs = match bvecs {
            Bvecs::Pooled(array) => Some(array),
            Bvecs::InBio(_) | Bvecs::Inline => None,
        };
        let pdu = self.scratch::<KiocbPdu>().as_ptr();
        // INVARIANT: The submitter is one user, the file is about to be the other one.
        //
        // SAFETY: The request is ours, and so is its scratch area.
        unsafe {
            (&raw mut (*pdu).iocb).write(iocb);
            (&raw mut (*pdu).refs).write(Atomic::new(2));
            (&raw mut (*pdu).result).write(0);
            (&raw mut (*pdu).is_write).write(is_write);
            (&raw mut (*pdu).pooled_bvecs).write(pooled_bvecs);
        }
        pdu
    }

    /// Copies the bvecs of the request to their place, and returns an iterator over its memory. The
    /// iterator may be used until the request ends.
    ///
    /// # Safety
    ///
    /// - The request must transfer data in direction `D`.
    /// - [`Self::write_pdu`] must have been called with `bvecs`, which [`Self::place_bvecs`] has
    ///   returned.
    unsafe fn fill_bvecs<D: Direction>(&self, bvecs: Bvecs) -> bindings::iov_iter {
        let pdu = self.scratch::<KiocbPdu>().as_ptr();
        let vecs: *mut bindings::bio_vec = match bvecs {
            // SAFETY: The bio of the request is valid and has bvecs, until the request ends.
            Bvecs::InBio(bio) => return unsafe { bio_iter(bio.as_ptr(), D::RAW) },
            // SAFETY: By the caller's promise the scratch area is a `KiocbPdu`.
            Bvecs::Inline => unsafe { &raw mut (*pdu).inline_bvecs }.cast(),
            Bvecs::Pooled(array) => array.as_ptr().cast(),
        };
        let nr = self.nr_bvecs();
        // SAFETY: By the caller's promise this is the direction of the request.
        let chunks = unsafe { self.bvecs::<D>() };
        // SAFETY: `place_bvecs` has found memory for `nr` bvecs.
        unsafe { chunks.copy_to(vecs, nr) };
        let mut iter = bindings::iov_iter::default();
        // SAFETY: The bvecs have just been written. They cover all bytes of the request.
        unsafe { bindings::iov_iter_bvec(&mut iter, D::RAW, vecs, nr, self.bytes() as usize) };
        iter
    }

    /// Submits the I/O that `pdu` describes.
    ///
    /// # Safety
    ///
    /// - `pdu` must be the [`KiocbPdu`] of a request that is given up, with an `iocb` for `file`.
    /// - `iter` must go over the memory of the request, in its direction.
    /// - `file` must stay until the last user is gone.
    unsafe fn submit(file: &BackingFile, pdu: *mut KiocbPdu, mut iter: bindings::iov_iter) {
        // SAFETY: By the caller's promise `pdu` is valid.
        let (iocb, is_write) = unsafe { (&raw mut (*pdu).iocb, (*pdu).is_write) };
        let ret = if is_write {
            // SAFETY: `iocb` is for this file. The PDU and the memory of `iter` stay while there
            // are users. `finish_file_io`, which is called once, ends the write.
            unsafe { file.submit_write(iocb, &mut iter) }
        } else {
            // SAFETY: As for a write.
            unsafe { file.submit_read(iocb, &mut iter) }
        };
        if ret == -(bindings::EIOCBQUEUED as isize) {
            // SAFETY: The submitter is a user, and is not any more afterwards.
            unsafe { Self::put_kiocb(pdu) };
            return;
        }
        // SAFETY: The file does not call the completion callback, so the submitter is the only
        // user.
        unsafe {
            (*pdu).result = ret;
            Self::finish_file_io(pdu);
        }
    }

    /// Calls [`FileIo::resume`] from the [workqueue](FileIo::queue) of the request's data. Any
    /// context.
    pub(crate) fn defer(self) {
        let queue = self.data().queue(&self).as_raw();
        let pdu: NonNull<DeferredPdu> = self.scratch();
        // The callback owns the request from here on.
        core::mem::forget(self);
        // SAFETY: The request was ours, and so is its scratch area.
        unsafe {
            pdu.write(DeferredPdu {
                work: bindings::work_struct::default(),
            });
        }
        // SAFETY: The scratch area has just been initialised.
        let work = unsafe { &raw mut (*pdu.as_ptr()).work };
        // SAFETY: `work` is valid and not queued.
        unsafe { bindings::rust_loop_helper_init_work(work, Some(Self::resume_callback)) };
        // SAFETY: The data of the request hold the workqueue, and stay until `resume` ends the
        // request. `work` stays valid until the callback is called, which takes over the request.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                queue,
                work,
            );
        }
    }

    /// Drops the reference of one user.
    ///
    /// # Safety
    ///
    /// `pdu` must be valid, and the caller must be a user, which it is not any more afterwards.
    unsafe fn put_kiocb(pdu: *mut KiocbPdu) {
        // The full order makes the writes of the other user visible to the last one.
        //
        // SAFETY: The caller is a user, so `pdu` is valid.
        if unsafe { (*pdu).refs.fetch_sub(1, Full) } == 1 {
            // SAFETY: By the type invariant the last user owns everything.
            unsafe { Self::finish_file_io(pdu) };
        }
    }

    /// Gives the request back to the driver.
    ///
    /// # Safety
    ///
    /// `pdu` must be valid, and the caller must be its only user.
    unsafe fn finish_file_io(pdu: *mut KiocbPdu) {
        // SAFETY: By the caller's promise `pdu` is valid.
        let (result, is_write, pooled_bvecs) =
            unsafe { ((*pdu).result, (*pdu).is_write, (*pdu).pooled_bvecs) };
        // SAFETY: The address of a scratch area is not null.
        let scratch = unsafe { NonNull::new_unchecked(pdu) };
        // SAFETY: By the type invariant the caller owns the request, which `submit` has given up.
        let rq = unsafe { Self::from_scratch(scratch) };
        if is_write {
            // SAFETY: `submit` has called `submit_write`. The data hold the file.
            unsafe { BackingFile::end_write(&raw mut (*pdu).iocb) };
        }
        if let Some(array) = pooled_bvecs {
            // SAFETY: By the type invariant this is an array of a pool of the same type. The I/O
            // that used it is done.
            unsafe { rq.data().arrays().0.free(array) };
        }
        T::RequestData::done(rq, to_len(result));
    }

    /// Takes the result of the I/O from the file.
    ///
    /// # Safety
    ///
    /// Called by a file, once, with the `iocb` of a live [`KiocbPdu`] that it uses.
    unsafe extern "C" fn kiocb_callback(iocb: *mut bindings::kiocb, ret: ffi::c_long) {
        // SAFETY: By the caller's promise `iocb` is the field of a `KiocbPdu`.
        let pdu = unsafe { container_of!(iocb, KiocbPdu, iocb) };
        // SAFETY: The file is a user, so `pdu` is valid. Only this function writes the result
        // before the last user reads it.
        unsafe { (*pdu).result = ret };
        // SAFETY: The file is a user, and does not use `iocb` any more.
        unsafe { Self::put_kiocb(pdu) };
    }

    /// Calls the driver for deferred work.
    ///
    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of a live [`DeferredPdu`].
    unsafe extern "C" fn resume_callback(work: *mut bindings::work_struct) {
        // SAFETY: By the caller's promise `work` is the field of a `DeferredPdu`.
        let pdu = unsafe { container_of!(work, DeferredPdu, work) };
        // SAFETY: The address of a scratch area is not null.
        let pdu = unsafe { NonNull::new_unchecked(pdu) };
        // SAFETY: `defer` has given up the request. The workqueue does not access the memory after
        // calling this function.
        let rq = unsafe { Self::from_scratch(pdu) };
        T::RequestData::resume(rq);
    }
}
