// SPDX-License-Identifier: GPL-2.0

//! Asynchronous transfers between the memory of a request and a file.
//!
//! [`Request::transfer`] gives a request away, with driver data that goes with it.
//! Both come back, once, in [`Transfer::done`], in whatever context the filesystem
//! is done in, which may be an interrupt. What has to be done after that and may
//! sleep is put off by [`Request::defer`], to [`Transfer::resume`].
//!
//! All that this takes is in the memory that the block layer reserves for the
//! driver with each request: first a [`Flight`], then, in its place, a
//! [`Deferred`]. Only the segments of a request that consists of many bios do not
//! fit there. They go to an array from a reserve, see [`SegmentArrays`].
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::{
    super::{
        bindings,
        fs::{
            kiocb::{
                to_len,
                Access, //
            },
            BackingFile, //
        },
        mempool::MemPool,
        workqueue::OwnedQueue, //
    },
    mq::{
        Op,
        Operations,
        Request, //
    },
    segments::{
        bio_iter,
        Dest,
        Direction,
        Source, //
    },
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

/// The segments of more than one bio that fit in a command.
const OWN_SEGMENTS: usize = 4;
/// The most segments that an asynchronous transfer can have: as many as a request
/// has with the block layer's default limits (`BLK_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 128;
/// How many arrays are set aside.
const RESERVED_ARRAYS: u32 = 2;

type SegmentArray = [bindings::bio_vec; MAX_SEGMENTS];

/// What goes with a request while it is being transferred.
pub(crate) trait Transfer<T: Operations>: Send + 'static {
    /// Returns the file.
    fn file(&self) -> &BackingFile;

    /// Returns the arrays for segments.
    fn arrays(&self) -> &SegmentArrays;

    /// Returns the workqueue for what is [deferred](Request::defer). It must have a thread to
    /// fall back on when there is no memory for another, as to do this may be what gives back
    /// memory.
    fn queue(&self) -> &OwnedQueue;

    /// Called when a transfer has been done, with how many bytes it was or with
    /// the file's error. Any context: must not sleep.
    fn done(self, rq: Request<T>, result: Result<usize>, within: Within);

    /// Called for what was [deferred](Request::defer). Process context of a kernel
    /// thread, may sleep.
    fn resume(self, rq: Request<T>);
}

/// Within what a transfer is found to be done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// The call of [`Request::transfer`], which the file has returned to.
    Submission,
    /// The end of what the file has done for it, as one of possibly many that end each
    /// other. May be an interrupt.
    Completion,
}

/// Arrays for the segments of requests, some of which are set aside. One pool serves all
/// devices: none waits for an array.
pub(crate) struct SegmentArrays(MemPool<SegmentArray>);

impl SegmentArrays {
    /// Creates the pool. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(MemPool::new(RESERVED_ARRAYS)?))
    }
}

/// A transfer that is under way, in the memory of its request.
///
/// # Invariants
///
/// - `users` counts who still uses the rest: who has submitted it and, from then on,
///   the file, until it calls the completion function. The last of them owns all.
/// - `array` is memory of a [`SegmentArrays`].
/// - While there are users `data` is neither moved nor changed, as if it were borrowed, so
///   the file that it has returned meanwhile, which `iocb` is for, stays.
struct Flight<T: Operations> {
    iocb: bindings::kiocb,
    users: Atomic<i32>,
    result: isize,
    is_write: bool,
    array: Option<NonNull<MaybeUninit<SegmentArray>>>,
    own: [MaybeUninit<bindings::bio_vec>; OWN_SEGMENTS],
    data: T::Transfer,
}

/// Work that has been deferred, in the memory of its request.
struct Deferred<T: Operations> {
    work: bindings::work_struct,
    data: T::Transfer,
}

/// The memory of a request that is not in a list. Which of them it is depends on who
/// owns the request: only that one looks.
pub(super) union TransferPdu<T: Operations> {
    _flight: ManuallyDrop<Flight<T>>,
    _deferred: ManuallyDrop<Deferred<T>>,
}

impl<T: Operations> Request<T> {
    /// Reads or writes the request's memory from byte `pos` of the file of `data` on,
    /// and calls [`Transfer::done`] when that is done, before or after this returns.
    ///
    /// Process context; sleeps, and enters the filesystem.
    ///
    /// # Errors
    ///
    /// The request and `data` come back, unused, if there is no memory for the segments, or the
    /// request has too many of them, or is not one to read or write, or the file cannot be
    /// accessed so, see [`Access`].
    pub(crate) fn transfer(
        self,
        pos: u64,
        access: Access,
        data: T::Transfer,
    ) -> Result<(), (Self, T::Transfer)> {
        if !matches!(self.op(), Op::Read | Op::Write) {
            return Err((self, data));
        }
        let Ok(mut iocb) = data.file().kiocb(pos, access) else {
            return Err((self, data));
        };
        iocb.ki_complete = Some(Self::complete_callback);
        let only_bio = self.only_bio();
        let segments = match only_bio {
            Some(_) => 0,
            None => self.nr_segments(),
        };
        let array = if segments <= OWN_SEGMENTS {
            None
        } else if segments <= MAX_SEGMENTS {
            match data.arrays().0.alloc() {
                None => return Err((self, data)),
                array => array,
            }
        } else {
            return Err((self, data));
        };
        let is_write = self.op() == Op::Write;
        let direction = match is_write {
            true => Source::RAW,
            false => Dest::RAW,
        };
        let bytes = self.bytes() as usize;
        let flight: NonNull<Flight<T>> = self.memory().cast();
        // INVARIANT: We are the submitter, and the file is about to be the other user.
        //
        // SAFETY: The request is ours, so its memory is; it has room for this.
        unsafe {
            flight.write(Flight {
                iocb,
                users: Atomic::new(2),
                result: 0,
                is_write,
                array,
                own: [MaybeUninit::uninit(); OWN_SEGMENTS],
                data,
            })
        };
        let flight = flight.as_ptr();
        // SAFETY: The memory is ours until the transfer is submitted. With one bio the
        // segments are where they are, else they go to one of the two arrays, both of
        // which are large enough. They stay there until the request ends.
        let mut iter = unsafe {
            match only_bio {
                Some(bio) => bio_iter(bio.as_ptr(), direction),
                None => {
                    let vecs: *mut bindings::bio_vec = match array {
                        Some(array) => array.as_ptr().cast(),
                        None => (&raw mut (*flight).own).cast(),
                    };
                    let mut iter = bindings::iov_iter::default();
                    match is_write {
                        true => self.segments::<Source>().copy_to(vecs, segments),
                        false => self.segments::<Dest>().copy_to(vecs, segments),
                    }
                    bindings::iov_iter_bvec(&mut iter, direction, vecs, segments, bytes);
                    iter
                }
            }
        };
        // The request is in flight from here on, and so not ours.
        let _ = ManuallyDrop::new(self);
        // SAFETY: `flight` and the segments stay until the last user is gone, and we
        // are one. By the type invariant the file stays, too; whatever `data` has returned
        // before, `iocb` is for the one that it returns here. A write is ended in `finish`,
        // which is called once.
        unsafe {
            let file = (*flight).data.file();
            file.set_file_of(&mut (*flight).iocb);
            let ret = match is_write {
                true => file.submit_write(&raw mut (*flight).iocb, &mut iter),
                false => file.submit_read(&raw mut (*flight).iocb, &mut iter),
            };
            if ret == -(bindings::EIOCBQUEUED as isize) {
                Self::put_flight(flight, Within::Submission);
            } else {
                // The file does not call the completion function, so that we are the
                // only user.
                (*flight).result = ret;
                Self::finish(flight, Within::Submission);
            }
        }
        Ok(())
    }

    /// Calls [`Transfer::resume`] from the [workqueue](Transfer::queue) of `data`. Any
    /// context.
    pub(crate) fn defer(self, data: T::Transfer) {
        let queue = data.queue().as_raw();
        let deferred: NonNull<Deferred<T>> = self.memory().cast();
        let _ = ManuallyDrop::new(self);
        // SAFETY: The request was ours, so its memory is; it has room for this, and
        // stays where it is. From `queue_work_on` on it belongs to the callback, which
        // takes over the request. The workqueue lives as long as there is a request,
        // and work that is not queued yet gets queued.
        unsafe {
            deferred.write(Deferred {
                work: bindings::work_struct::default(),
                data,
            });
            let deferred = deferred.as_ptr();
            let work = &raw mut (*deferred).work;
            bindings::rust_loop_helper_init_work(work, Some(Self::resume_callback));
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                queue,
                work,
            );
        }
    }

    /// Ends the use of `flight` by one of its users.
    ///
    /// # Safety
    ///
    /// `flight` must be valid, and the caller must be a user of it, which it is not
    /// any more after this.
    unsafe fn put_flight(flight: *mut Flight<T>, within: Within) {
        // SAFETY: The caller is a user, so this is valid. The order is full: what the
        // other user has written is seen by the last one.
        if unsafe { (*flight).users.fetch_sub(1, Full) } == 1 {
            // SAFETY: By the type invariant all is ours now.
            unsafe { Self::finish(flight, within) };
        }
    }

    /// Gives the request and what goes with it back to the driver.
    ///
    /// # Safety
    ///
    /// `flight` must be valid, and nobody else may use it any more.
    unsafe fn finish(flight: *mut Flight<T>, within: Within) {
        // SAFETY: All of it is ours. Freeze protection, if this was a write, was taken
        // when it was submitted. `data` and `array` are taken out here, and not used
        // again where they were.
        let (rq, data, result) = unsafe {
            let Flight {
                result,
                is_write,
                array,
                ..
            } = *flight;
            if is_write {
                BackingFile::end_write(&raw mut (*flight).iocb);
            }
            let data = core::ptr::read(&raw const (*flight).data);
            if let Some(array) = array {
                data.arrays().0.free(array);
            }
            (Self::from_memory(flight.cast()), data, result)
        };
        data.done(rq, to_len(result), within);
    }

    /// # Safety
    ///
    /// Called by a file, once, with the `iocb` of a live [`Flight`] that it uses.
    unsafe extern "C" fn complete_callback(iocb: *mut bindings::kiocb, ret: ffi::c_long) {
        // SAFETY: `iocb` is the field of a `Flight`, which stays as long as it has
        // users. Nobody else writes or reads the result before the last user.
        unsafe {
            let flight = container_of!(iocb, Flight<T>, iocb);
            (*flight).result = ret;
            Self::put_flight(flight, Within::Completion);
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of a live [`Deferred`].
    unsafe extern "C" fn resume_callback(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the field of a `Deferred`, which is ours; the workqueue
        // does not use it after calling us.
        let (rq, data) = unsafe {
            let deferred = container_of!(work, Deferred<T>, work);
            let data = core::ptr::read(&raw const (*deferred).data);
            (Self::from_memory(deferred.cast()), data)
        };
        data.resume(rq);
    }
}
