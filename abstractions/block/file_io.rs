// SPDX-License-Identifier: GPL-2.0

//! Asynchronous I/O between the memory of a request and a file.
//!
//! [`Request::submit_file_io`] gives a request away. It comes back, once, in [`FileIo::done`],
//! in whatever context the filesystem completes the I/O in, which may be an interrupt.
//! [`Request::defer`] puts off the rest, which may sleep, to [`FileIo::resume`].
//!
//! The state of the I/O is in the scratch area behind the request: first a [`KiocbPdu`], then,
//! in its place, a [`DeferredPdu`]. Only the bvecs of a request that consists of many bios do
//! not fit there. They go to an array from a pool, see [`BvecArrays`].
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
        Request, //
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

/// The number of bvecs of more than one bio that fit behind a request.
const INLINE_BVECS: usize = 4;
/// The most bvecs that asynchronous I/O can have: as many as a request has with the block
/// layer's default limits (`BLK_MAX_SEGMENTS`).
const MAX_BVECS: usize = 128;
/// The number of arrays that are set aside.
const RESERVED_ARRAYS: u32 = 2;

type BvecArray = [bindings::bio_vec; MAX_BVECS];

/// Driver data of a request that can be read from or written to a file.
pub(crate) trait FileIo<T: Operations<RequestData = Self>>: Send + Sync + 'static {
    /// Returns the file.
    fn file(&self) -> &BackingFile;

    /// Returns the pool of arrays for bvecs. It must be the same one until the request ends.
    fn arrays(&self) -> &BvecArrays;

    /// Returns the workqueue for [deferred](Request::defer) work. It must have a rescuer, as
    /// this work may be what frees memory.
    fn queue(&self) -> &OwnedQueue;

    /// Called when the I/O has been done, with the number of bytes or with the file's error.
    /// Any context: must not sleep.
    fn done(rq: Request<T>, result: Result<usize>, within: CompletedIn);

    /// Called for a [deferred](Request::defer) request. Process context of a kernel thread,
    /// may sleep.
    fn resume(rq: Request<T>);
}

/// The context in which I/O is found to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompletedIn {
    /// The call of [`Request::submit_file_io`], with all functions of the file returned from.
    SubmitCall,
    /// The file's completion callback, one of possibly many that call each other. It may run
    /// in an interrupt.
    Callback,
}

/// Arrays for the bvecs of requests, some of which are set aside. One pool serves all
/// devices, as none waits for an array.
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

/// I/O that is in flight, in the scratch area of its request.
///
/// # Invariants
///
/// - `refs` counts the users of the request and of this: the submitter and, from the
///   submission on, the file, until it calls the completion callback. The last user owns both.
/// - `pooled_bvecs` is memory of the [`BvecArrays`] of the request's data.
/// - While there are users the driver's data are not changed.
struct KiocbPdu {
    iocb: bindings::kiocb,
    refs: Atomic<i32>,
    result: isize,
    is_write: bool,
    pooled_bvecs: Option<NonNull<MaybeUninit<BvecArray>>>,
    inline_bvecs: [MaybeUninit<bindings::bio_vec>; INLINE_BVECS],
}

// SAFETY: No field needs to be dropped: `pooled_bvecs` is given back by `finish_file_io`.
unsafe impl PduVariant for KiocbPdu {}

/// Work that has been deferred, in the scratch area of its request.
struct DeferredPdu {
    work: bindings::work_struct,
}

// SAFETY: The field does not need to be dropped.
unsafe impl PduVariant for DeferredPdu {}

/// The place of the bvecs of a request.
#[derive(Clone, Copy)]
enum Bvecs {
    /// In its only bio.
    InBio(NonNull<bindings::bio>),
    /// In the PDU.
    Inline,
    /// In an array from the pool.
    Pooled(NonNull<MaybeUninit<BvecArray>>),
}

impl<T: Operations> Request<T>
where
    T::RequestData: FileIo<T>,
{
    /// Reads or writes the request's memory from byte `pos` of its file on, and calls
    /// [`FileIo::done`] when that is done, before or after this returns.
    ///
    /// Process context; sleeps, and enters the filesystem.
    ///
    /// # Errors
    ///
    /// The request comes back if there is no memory for its bvecs, if it has too many of them,
    /// if it is neither a read nor a write, or if the file cannot be accessed so, see
    /// [`RwOptions`].
    pub(crate) fn submit_file_io(self, pos: u64, options: RwOptions) -> Result<(), Self> {
        let is_write = match self.op() {
            Op::Read => false,
            Op::Write => true,
            _ => return Err(self),
        };
        // Until it is submitted, the request goes back to the caller on failure.
        let this = ManuallyDrop::new(self);
        // One reference is used for everything: another call might return another file.
        let file = this.data().file();
        let Ok(mut iocb) = file.kiocb(pos, options) else {
            return Err(ManuallyDrop::into_inner(this));
        };
        iocb.ki_complete = Some(Self::kiocb_callback);
        let Some(bvecs) = this.place_bvecs() else {
            return Err(ManuallyDrop::into_inner(this));
        };
        let pdu = this.write_pdu(iocb, is_write, bvecs);
        let iter = if is_write {
            // SAFETY: The request is a write, and `bvecs` come from `place_bvecs`.
            unsafe { this.fill_bvecs::<Source>(bvecs) }
        } else {
            // SAFETY: The request is a read, and `bvecs` come from `place_bvecs`.
            unsafe { this.fill_bvecs::<Dest>(bvecs) }
        };
        // SAFETY: The PDU has just been written. The request is given up. The data of the request,
        // and with them the file, stay while the submitter is a user.
        unsafe { Self::submit(file, pdu.as_ptr(), iter) };
        Ok(())
    }

    /// Writes the [`KiocbPdu`] of the request.
    fn write_pdu(&self, iocb: bindings::kiocb, is_write: bool, bvecs: Bvecs) -> NonNull<KiocbPdu> {
        let pdu: NonNull<KiocbPdu> = self.scratch();
        let pooled_bvecs = match bvecs {
            Bvecs::Pooled(array) => Some(array),
            Bvecs::InBio(_) | Bvecs::Inline => None,
        };
        // INVARIANT: The submitter is one user, and the file is about to be the other one.
        //
        // SAFETY: The request is ours, so its scratch area is. `inline_bvecs` need not be
        // initialised; they are not written, as copying them would cost as much as the rest.
        unsafe {
            let pdu = pdu.as_ptr();
            (&raw mut (*pdu).iocb).write(iocb);
            (&raw mut (*pdu).refs).write(Atomic::new(2));
            (&raw mut (*pdu).result).write(0);
            (&raw mut (*pdu).is_write).write(is_write);
            (&raw mut (*pdu).pooled_bvecs).write(pooled_bvecs);
        }
        pdu
    }

    /// Finds room for the bvecs of a read or write. `None` if there is none.
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

    /// Returns an iterator over the memory of the request, whose bvecs are copied to `bvecs`.
    ///
    /// # Safety
    ///
    /// The request must transfer in direction `D`, have a [`KiocbPdu`], and `bvecs` must come
    /// from [`Self::place_bvecs`]. The iterator is valid until the request ends.
    unsafe fn fill_bvecs<D: Direction>(&self, bvecs: Bvecs) -> bindings::iov_iter {
        let pdu: NonNull<KiocbPdu> = self.scratch();
        let vecs: *mut bindings::bio_vec = match bvecs {
            // SAFETY: It is a bio of the request, whose bvecs stay where they are.
            Bvecs::InBio(bio) => return unsafe { bio_iter(bio.as_ptr(), D::RAW) },
            // SAFETY: The caller guarantees that the scratch area is a `KiocbPdu`.
            Bvecs::Inline => unsafe { (&raw mut (*pdu.as_ptr()).inline_bvecs).cast() },
            Bvecs::Pooled(array) => array.as_ptr().cast(),
        };
        let nr = self.nr_bvecs();
        // SAFETY: The caller guarantees the direction, and by `place_bvecs` the array has room
        // for all bvecs of the request.
        unsafe { self.bvecs::<D>().copy_to(vecs, nr) };
        let mut iter = bindings::iov_iter::default();
        // SAFETY: The bvecs have just been written, and describe all bytes of the request.
        unsafe { bindings::iov_iter_bvec(&mut iter, D::RAW, vecs, nr, self.bytes() as usize) };
        iter
    }

    /// Submits the I/O that `pdu` describes.
    ///
    /// # Safety
    ///
    /// `pdu` must be the [`KiocbPdu`] of a request that is given up, with an `iocb` for `file`,
    /// and `iter` must go over the memory of the request. `file` must stay until the last user is
    /// gone.
    unsafe fn submit(file: &BackingFile, pdu: *mut KiocbPdu, mut iter: bindings::iov_iter) {
        // SAFETY: The PDU and the memory that `iter` goes over stay while there are users.
        // `finish_file_io`, which is called once, ends a write.
        let ret = unsafe {
            let iocb = &raw mut (*pdu).iocb;
            if (*pdu).is_write {
                file.submit_write(iocb, &mut iter)
            } else {
                file.submit_read(iocb, &mut iter)
            }
        };
        if ret == -(bindings::EIOCBQUEUED as isize) {
            // SAFETY: The submitter is a user until here.
            unsafe { Self::put_kiocb(pdu, CompletedIn::SubmitCall) };
        } else {
            // SAFETY: The file does not call the completion callback, so the submitter is the
            // only user.
            unsafe {
                (*pdu).result = ret;
                Self::finish_file_io(pdu, CompletedIn::SubmitCall);
            }
        }
    }

    /// Calls [`FileIo::resume`] from the [workqueue](FileIo::queue) of the request's data. Any
    /// context.
    pub(crate) fn defer(self) {
        let queue = self.data().queue().as_raw();
        let pdu: NonNull<DeferredPdu> = self.scratch();
        // From here on the callback owns the request.
        core::mem::forget(self);
        // SAFETY: The request was ours, so its scratch area is. The data of the request hold the
        // workqueue, and stay until `resume` ends the request. The work is not queued yet, so it
        // gets queued.
        unsafe {
            pdu.write(DeferredPdu {
                work: bindings::work_struct::default(),
            });
            let work = &raw mut (*pdu.as_ptr()).work;
            bindings::rust_loop_helper_init_work(work, Some(Self::resume_callback));
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                queue,
                work,
            );
        }
    }

    /// Ends the use of `pdu` by one of its users.
    ///
    /// # Safety
    ///
    /// `pdu` must be valid, and the caller must be a user of it, which it is not any more
    /// after this.
    unsafe fn put_kiocb(pdu: *mut KiocbPdu, within: CompletedIn) {
        // The order is full: the last user sees all that the other one has written.
        //
        // SAFETY: The caller is a user, so this is valid.
        if unsafe { (*pdu).refs.fetch_sub(1, Full) } == 1 {
            // SAFETY: By the type invariant all is ours now.
            unsafe { Self::finish_file_io(pdu, within) };
        }
    }

    /// Gives the request back to the driver.
    ///
    /// # Safety
    ///
    /// `pdu` must be valid, and the caller must be its only user.
    unsafe fn finish_file_io(pdu: *mut KiocbPdu, within: CompletedIn) {
        // SAFETY: By the type invariant the caller owns the request.
        let rq = unsafe { Self::from_scratch(NonNull::new_unchecked(pdu)) };
        // SAFETY: The caller owns the PDU, too.
        let (result, is_write, pooled_bvecs) =
            unsafe { ((*pdu).result, (*pdu).is_write, (*pdu).pooled_bvecs) };
        if is_write {
            // SAFETY: `submit` has called `submit_write` for it. The data hold the file.
            unsafe { BackingFile::end_write(&raw mut (*pdu).iocb) };
        }
        if let Some(array) = pooled_bvecs {
            // SAFETY: The array is from a pool of the same type, and is not used any more.
            unsafe { rq.data().arrays().0.free(array) };
        }
        T::RequestData::done(rq, to_len(result), within);
    }

    /// # Safety
    ///
    /// Called by a file, once, with the `iocb` of a live [`KiocbPdu`] that it uses.
    unsafe extern "C" fn kiocb_callback(iocb: *mut bindings::kiocb, ret: ffi::c_long) {
        // SAFETY: `iocb` is the field of a `KiocbPdu`, which stays while it has users. Only
        // this function writes the result before the last user reads it.
        unsafe {
            let pdu = container_of!(iocb, KiocbPdu, iocb);
            (*pdu).result = ret;
            Self::put_kiocb(pdu, CompletedIn::Callback);
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of a live [`DeferredPdu`].
    unsafe extern "C" fn resume_callback(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the field of a `DeferredPdu`, so this is not null. `defer` has given
        // up its request to us; the workqueue does not use the work after this call.
        let rq = unsafe {
            let pdu = container_of!(work, DeferredPdu, work);
            Self::from_scratch(NonNull::new_unchecked(pdu))
        };
        T::RequestData::resume(rq);
    }
}
