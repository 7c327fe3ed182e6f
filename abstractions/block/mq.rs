// SPDX-License-Identifier: GPL-2.0

//! Multi-queue block drivers: tag sets, requests, and the life of a request.
//!
//! A [`Request`] is a value with one owner. It comes into being when the block
//! layer calls [`Operations::queue_rq`], moves from owner to owner, and is gone
//! when [`Request::end`] takes it. Ending a request twice does not compile;
//! dropping it without ending it fails it with an I/O error.
//!
//! While a request waits it sits in a [`RequestList`], which links requests
//! through their own memory and keeps the driver's data for it there, too: to
//! queue a request never allocates.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::super::{
    bindings,
    cgroup::BlkcgCss,
    time::Nanos, //
};
use super::{
    segments::{
        Dest,
        Direction,
        Segments,
        Source, //
    },
    transfer::{
        Transfer,
        TransferPdu, //
    },
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    container_of,
    error::to_result,
    ffi,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// Bytes per sector, the block layer's unit of length.
pub(crate) const SECTOR_SIZE: u32 = 512;
/// Binary logarithm of [`SECTOR_SIZE`].
pub(crate) const SECTOR_SHIFT: u32 = 9;

/// A multi-queue block driver.
pub(crate) trait Operations: Sized + Send + Sync + 'static {
    /// What a request is kept together with while it waits in a
    /// [`RequestList`].
    type Queued: Send + 'static;

    /// What a request is kept together with while it is
    /// [transferred](Request::transfer).
    type Transfer: Transfer<Self>;

    /// Takes over a request that has just been started.
    ///
    /// Called in process or softirq context, within an RCU read-side critical
    /// section: must not sleep. `last` says that the block layer will not
    /// submit another request right after this one.
    fn queue_rq(this: ArcBorrow<'_, Self>, rq: Request<Self>, last: bool);
}

/// The outcome of a request (`blk_status_t`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlkStatus(bindings::blk_status_t);

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

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Make what was acknowledged before durable.
    Flush,
    /// The contents of the range are of no interest any more.
    Discard,
    /// The range shall read as zeroes. `unmap` says that its space may be given
    /// back.
    WriteZeroes {
        /// Whether the space of the range may be deallocated.
        unmap: bool,
    },
    /// Something that this driver did not announce to support.
    Unknown(u32),
}

impl Op {
    /// Returns whether the operation changes what is stored.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Discard | Self::WriteZeroes { .. })
    }
}

/// The memory that the block layer reserves for the driver with each request. What
/// it is depends on who owns the request.
union Pdu<T: Operations> {
    _waiting: ManuallyDrop<Waiting<T>>,
    _transfer: ManuallyDrop<TransferPdu<T>>,
    _ending: ManuallyDrop<Ending>,
}

/// A request that has been done and is about to be ended.
struct Ending {
    status: BlkStatus,
    work: bindings::work_struct,
}

/// A request in a [`RequestList`].
struct Waiting<T: Operations> {
    /// The request behind this one.
    next: Option<NonNull<bindings::request>>,
    /// The driver's data.
    queued: T::Queued,
}

/// A request that has been started and that its holder has to end.
///
/// # Invariants
///
/// The pointer is to a request of a [`TagSet<T>`] which the block layer has
/// given to the driver and which has not been ended. Nobody else has a
/// [`Request`] for it, and it is in no [`RequestList`].
pub(crate) struct Request<T: Operations> {
    rq: NonNull<bindings::request>,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: A started request belongs to whoever has it, in whatever context.
unsafe impl<T: Operations> Send for Request<T> {}
// SAFETY: The methods on `&self` only read what does not change while the
// request is started.
unsafe impl<T: Operations> Sync for Request<T> {}

impl<T: Operations> Request<T> {
    /// Returns what is asked for.
    pub(crate) fn op(&self) -> Op {
        // SAFETY: By the type invariant the request is valid and started.
        let (op, flags) = unsafe {
            (
                bindings::rust_loop_helper_req_op(self.rq.as_ptr()),
                (*self.rq.as_ptr()).cmd_flags,
            )
        };
        match op {
            bindings::req_op_REQ_OP_READ => Op::Read,
            bindings::req_op_REQ_OP_WRITE => Op::Write,
            bindings::req_op_REQ_OP_FLUSH => Op::Flush,
            bindings::req_op_REQ_OP_DISCARD => Op::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Op::WriteZeroes {
                unmap: flags & bindings::RUST_LOOP_CONST_REQ_NOUNMAP == 0,
            },
            op => Op::Unknown(op),
        }
    }

    /// Returns where on the device the request begins, in bytes.
    pub(crate) fn pos(&self) -> u64 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_pos(self.rq.as_ptr()) << SECTOR_SHIFT }
    }

    /// Returns how many bytes are left to do.
    pub(crate) fn bytes(&self) -> u32 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_bytes(self.rq.as_ptr()) }
    }

    /// Returns whether what is written has to be durable when the request ends
    /// (`REQ_FUA`).
    pub(crate) fn is_fua(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { (*self.rq.as_ptr()).cmd_flags & bindings::RUST_LOOP_CONST_REQ_FUA != 0 }
    }

    /// Returns whether this is memory on its way to swap (`REQ_SWAP`). What comes back is
    /// like any other read.
    pub(crate) fn is_swap(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { (*self.rq.as_ptr()).cmd_flags & bindings::RUST_LOOP_CONST_REQ_SWAP != 0 }
    }

    /// Returns whether the memory of the request is on its way to swap or back. Other than
    /// [`Self::is_swap`] this tells swap of a device that is on top of this one, too. For
    /// direct I/O to or from memory which is being swapped it may be wrong.
    pub(crate) fn carries_swap(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_carries_swap(self.rq.as_ptr()) }
    }

    /// Returns whether somebody waits for it (`op_is_sync`), as nobody does for what is
    /// only read ahead.
    pub(crate) fn is_awaited(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_is_awaited(self.rq.as_ptr()) }
    }

    /// Returns the I/O priority (`IOPRIO_PRIO_VALUE`).
    pub(crate) fn ioprio(&self) -> u16 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_req_get_ioprio(self.rq.as_ptr()) }
    }

    /// Returns when the request was made, if the block layer accounts for it.
    pub(crate) fn start_time(&self) -> Option<Nanos> {
        // SAFETY: By the type invariant the request is valid and started.
        let ns = unsafe { (*self.rq.as_ptr()).start_time_ns };
        let flags = self.rq_flags().load(Relaxed);
        // Otherwise the time may be that of the last request that was here.
        (flags & bindings::RUST_LOOP_CONST_RQF_IO_STAT != 0).then_some(Nanos::from_block(ns))
    }

    /// Returns the cgroup to which the request is charged (that of its first
    /// bio); `None` if that is the root or there is no bio.
    pub(crate) fn blkcg(&self) -> Option<&BlkcgCss> {
        // SAFETY: By the type invariant the request is valid.
        let bio = NonNull::new(unsafe { (*self.rq.as_ptr()).bio })?;
        // SAFETY: The bio belongs to the request, which cannot be ended while
        // `self` is borrowed.
        unsafe { BlkcgCss::of_bio(bio) }
    }

    /// Returns the memory of a write, from its beginning, for one transfer; `None` if the
    /// request is not a write.
    pub(crate) fn source(&self) -> Option<Segments<'_, Source>> {
        // SAFETY: This is the direction of a write.
        (self.op() == Op::Write).then(|| unsafe { self.segments() })
    }

    /// Returns the memory of a read, from its beginning, for one transfer; `None` if the
    /// request is not a read.
    pub(crate) fn dest(&self) -> Option<Segments<'_, Dest>> {
        // SAFETY: This is the direction of a read.
        (self.op() == Op::Read).then(|| unsafe { self.segments() })
    }

    /// # Safety
    ///
    /// The request must read or write, in direction `D`.
    pub(super) unsafe fn segments<D: Direction>(&self) -> Segments<'_, D> {
        // SAFETY: By the type invariant the request is valid. The bios of a read or write
        // have segments for all that they transfer, in the direction that the caller vouches
        // for. The request cannot be ended or advanced while `self` is borrowed.
        unsafe { Segments::new((*self.rq.as_ptr()).bio) }
    }

    /// Stops the block layer from sending discards to this queue, without
    /// waiting for those that are under way. For use before ending a discard
    /// that the device turned out not to support. Any context.
    pub(crate) fn disable_discard(&self) {
        // SAFETY: By the type invariant the request and its queue are valid. Single words of
        // the limits are cleared, with marked accesses (`WRITE_ONCE()`), as this races with
        // other requests that do the same and with the block layer, which reads them in C
        // without a lock. A change of limits does not race: it has the queue frozen, so that
        // there is no request.
        unsafe {
            bindings::rust_loop_helper_blk_queue_disable_discard((*self.rq.as_ptr()).q);
        }
    }

    /// The same as [`Self::disable_discard`] for write-zeroes.
    pub(crate) fn disable_write_zeroes(&self) {
        // SAFETY: As for `disable_discard`.
        unsafe { bindings::rust_loop_helper_blk_queue_disable_write_zeroes((*self.rq.as_ptr()).q) };
    }

    /// Returns whether the queue takes discards now: the device can, and user space has not
    /// turned them off. Any context.
    pub(crate) fn may_discard(&self) -> bool {
        // SAFETY: By the type invariant the request and its queue are valid. The word is read
        // with a marked access (`READ_ONCE()`), as this races with `disable_discard`.
        unsafe { bindings::rust_loop_helper_queue_max_discard_sectors((*self.rq.as_ptr()).q) != 0 }
    }

    /// Keeps the block layer from logging that the request failed. For failures
    /// that are an answer. Any context.
    pub(crate) fn set_quiet(&mut self) {
        let flags = self.rq_flags();
        let old = flags.load(Relaxed);
        flags.store(old | bindings::RUST_LOOP_CONST_RQF_QUIET, Relaxed);
    }

    /// Returns the word with the `RQF_*` of the request. The owner of the request changes
    /// it, and so does the block layer's timeout handler (`RQF_TIMED_OUT`), in C with plain
    /// accesses. A change that is lost costs a line in the log, no more.
    fn rq_flags(&self) -> &Atomic<u32> {
        // SAFETY: By the type invariant the request is valid, and is so while `self` is
        // borrowed. In Rust the word is only accessed by way of this.
        unsafe { Atomic::from_ptr(&raw mut (*self.rq.as_ptr()).rq_flags) }
    }

    /// Completes the first `bytes` bytes, successfully, and keeps the rest.
    /// `bytes` beyond all but the last are not completed.
    pub(crate) fn complete_partially(&mut self, bytes: u32) {
        let bytes = bytes.min(self.bytes().saturating_sub(1));
        // SAFETY: By the type invariant the request is ours; fewer bytes than
        // are left are completed, so that it is not ended by this.
        unsafe {
            bindings::blk_update_request(
                self.rq.as_ptr(),
                bindings::RUST_LOOP_CONST_BLK_STS_OK,
                bytes,
            )
        };
    }

    /// Ends the request. Any context.
    pub(crate) fn end(self, status: BlkStatus) {
        let rq = ManuallyDrop::new(self).rq;
        // SAFETY: By the type invariant the request is started and ours alone;
        // it has been given up by the line above.
        unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status.0) };
    }

    /// Ends the request from a softirq, soon. Any context.
    ///
    /// For what is called when I/O of somebody else ends: to end a request calls those
    /// who wait for it, who may be about to end one of theirs, and so on. With a stack
    /// of devices that would need as much of the processor's stack.
    pub(crate) fn end_later(self, status: BlkStatus) {
        let ending: NonNull<Ending> = self.memory().cast();
        let rq = ManuallyDrop::new(self).rq;
        // SAFETY: By the type invariant the request is started and ours alone, and so is
        // its memory, which has room for this. It is given up to one of two callbacks: if
        // the block layer does not take it, because there is but one processor for its
        // queue, that would end it here, so it goes to a softirq by way of a workqueue,
        // which lives for as long as the kernel does. The work is not queued yet.
        unsafe {
            ending.write(Ending {
                status,
                work: bindings::work_struct::default(),
            });
            if bindings::blk_mq_complete_request_remote(rq.as_ptr()) {
                return;
            }
            let work = &raw mut (*ending.as_ptr()).work;
            bindings::rust_loop_helper_init_bh_work(work, Some(Self::end_callback));
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                bindings::system_bh_wq,
                work,
            );
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of the [`Ending`] in the memory of a
    /// request that was given to it by [`Self::end_later`].
    unsafe extern "C" fn end_callback(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the field of an `Ending`, which is ours with its request; the
        // workqueue does not use it after calling us.
        unsafe {
            let ending = container_of!(work, Ending, work);
            let status = (*ending).status;
            Self::from_memory(ending.cast()).end(status);
        }
    }

    /// Returns the bio of a request that consists of a single one.
    pub(super) fn only_bio(&self) -> Option<NonNull<bindings::bio>> {
        // SAFETY: By the type invariant the request is valid and started.
        let (first, last) = unsafe { ((*self.rq.as_ptr()).bio, (*self.rq.as_ptr()).biotail) };
        NonNull::new(first).filter(|_| first == last)
    }

    /// Returns how many segments the request's memory has. The request must read or
    /// write.
    pub(super) fn nr_segments(&self) -> usize {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_nr_bvec(self.rq.as_ptr()) as usize }
    }

    /// Returns the memory behind the request, which whoever owns that owns.
    pub(super) fn memory(&self) -> NonNull<ffi::c_void> {
        // SAFETY: By the type invariant the request is one of a `TagSet<T>`, which has
        // room for a `Pdu<T>` behind each.
        unsafe { self.rq.add(1).cast() }
    }

    /// Returns the request that some memory is behind.
    ///
    /// # Safety
    ///
    /// `memory` must come from [`Self::memory`] of a request that its owner has given
    /// up to the caller without ending it.
    pub(super) unsafe fn from_memory(memory: *mut ffi::c_void) -> Self {
        // INVARIANT: The caller owns the request from now on.
        Self {
            // SAFETY: By the caller's promise there is a request before it, so this is
            // not null.
            rq: unsafe { NonNull::new_unchecked(memory.cast::<bindings::request>().sub(1)) },
            _p: PhantomData,
        }
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: As for `end`: this is the last use of the request.
        unsafe {
            bindings::blk_mq_end_request(self.rq.as_ptr(), bindings::RUST_LOOP_CONST_BLK_STS_IOERR)
        };
    }
}

/// Requests that wait, first in first out, each with its driver data.
///
/// # Invariants
///
/// `head` starts a chain of `len` through `Waiting::next`, which ends at `tail`. Each
/// request in it fulfils the invariants of [`Request`] but for being in this list, and there
/// is a [`Waiting`] in its memory.
pub(crate) struct RequestList<T: Operations> {
    head: Option<NonNull<bindings::request>>,
    tail: Option<NonNull<bindings::request>>,
    len: u32,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: The list owns requests and driver data, all of which are `Send`.
unsafe impl<T: Operations> Send for RequestList<T> {}

impl<T: Operations> RequestList<T> {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
            len: 0,
            _p: PhantomData,
        }
    }

    /// Returns how many requests there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Returns whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Returns the driver's data of the first request.
    pub(crate) fn first(&self) -> Option<&T::Queued> {
        let head = self.head?;
        // SAFETY: By the type invariant `head` is a request in this list, with such
        // memory, which is ours and stays while the list is borrowed.
        Some(unsafe { &(*head.as_ptr().add(1).cast::<Waiting<T>>()).queued })
    }

    /// Takes all requests out of the list, into another.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Appends a request and the data that goes with it. Any context.
    pub(crate) fn push_back(&mut self, rq: Request<T>, queued: T::Queued) {
        let waiting: NonNull<Waiting<T>> = rq.memory().cast();
        let rq = ManuallyDrop::new(rq).rq;
        // INVARIANT: The request moves from its handle into the list, with its
        // memory initialised.
        //
        // SAFETY: The request is ours, so its memory is, too.
        unsafe { waiting.write(Waiting { next: None, queued }) };
        self.len += 1;
        match self.tail.replace(rq) {
            None => self.head = Some(rq),
            Some(tail) => {
                // SAFETY: By the type invariant `tail` is a request in this list,
                // with such memory, which is ours.
                unsafe { (*tail.as_ptr().add(1).cast::<Waiting<T>>()).next = Some(rq) }
            }
        }
    }

    /// Takes the first request and its data out of the list. Any context.
    pub(crate) fn pop_front(&mut self) -> Option<(Request<T>, T::Queued)> {
        let rq = self.head?;
        // INVARIANT: The request leaves the list.
        let rq = Request {
            rq,
            _p: PhantomData,
        };
        // SAFETY: The request was in this list, so its memory is initialised. It is
        // read out once, as the request is not in a list any more.
        let Waiting { next, queued }: Waiting<T> = unsafe { rq.memory().cast().read() };
        self.len -= 1;
        self.head = next;
        if next.is_none() {
            self.tail = None;
        }
        Some((rq, queued))
    }
}

impl<T: Operations> Drop for RequestList<T> {
    /// Fails what is still waiting.
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}

/// Sizes of a [`TagSet`].
#[derive(Clone, Copy)]
pub(crate) struct TagSetOptions {
    /// Number of hardware queues.
    pub(crate) nr_hw_queues: u32,
    /// Number of requests that can be under way in each of them.
    pub(crate) queue_depth: u32,
}

/// The requests of one device (`struct blk_mq_tag_set`).
///
/// The driver calls the files below into being by its requests, so it is a
/// stacking one (`BLK_MQ_F_STACKING`), and it gains nothing by an I/O scheduler
/// (`BLK_MQ_F_NO_SCHED_BY_DEFAULT`).
///
/// # Invariants
///
/// `inner` is initialised, and its requests have room for a `Pdu<T>` each.
#[pin_data(PinnedDrop)]
pub(crate) struct TagSet<T: Operations> {
    #[pin]
    inner: Opaque<bindings::blk_mq_tag_set>,
    _p: PhantomData<fn() -> T>,
}

impl<T: Operations> TagSet<T> {
    /// The driver's memory begins where `struct request` ends.
    const PDU_IS_ALIGNED: () = assert!(
        size_of::<bindings::request>() % align_of::<Pdu<T>>() == 0
            && align_of::<Pdu<T>>() <= align_of::<bindings::request>()
    );

    /// Allocates the requests. May sleep.
    pub(crate) fn new(options: TagSetOptions) -> impl PinInit<Self, Error> {
        let () = Self::PDU_IS_ALIGNED;
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::blk_mq_tag_set| {
                // SAFETY: `slot` is valid for writes. All zeroes is a valid
                // `struct blk_mq_tag_set` to fill in and allocate.
                unsafe {
                    slot.write_bytes(0, 1);
                    (*slot).ops = &Self::OPS;
                    (*slot).nr_hw_queues = options.nr_hw_queues;
                    (*slot).queue_depth = options.queue_depth;
                    (*slot).numa_node = bindings::NUMA_NO_NODE;
                    (*slot).cmd_size = core::mem::size_of::<Pdu<T>>() as u32;
                    (*slot).flags = bindings::RUST_LOOP_CONST_BLK_MQ_F_STACKING
                        | bindings::RUST_LOOP_CONST_BLK_MQ_F_NO_SCHED_BY_DEFAULT;
                }
                // SAFETY: `slot` has just been filled in and stays where it is.
                to_result(unsafe { bindings::blk_mq_alloc_tag_set(slot) })
            }),
            _p: PhantomData,
        })
    }

    /// Returns the tag set; it lives as long as `self`. Any context.
    pub(super) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }

    const OPS: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq_callback),
        complete: Some(Self::complete_callback),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the block layer only, for a request that was given to it by
    /// [`Request::end_later`].
    unsafe extern "C" fn complete_callback(rq: *mut bindings::request) {
        // SAFETY: The request and its memory are ours, see `end_later`.
        unsafe {
            let status = (*rq.add(1).cast::<Ending>()).status;
            bindings::blk_mq_end_request(rq, status.0);
        }
    }

    /// # Safety
    ///
    /// Called by the block layer only, for a queue whose `queuedata` was set by
    /// [`super::registration::DiskRegistration::new`].
    unsafe extern "C" fn queue_rq_callback(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: The block layer passes valid pointers.
        let (queuedata, rq, last) = unsafe { ((*(*hctx).queue).queuedata, (*bd).rq, (*bd).last) };
        // SAFETY: `queuedata` comes from `Arc::into_foreign` and is given back
        // when the disk is freed, which is after its queue has been drained.
        let this = unsafe { <Arc<T> as ForeignOwnable>::borrow(queuedata) };
        // SAFETY: The block layer hands the request to us to start it.
        unsafe { bindings::blk_mq_start_request(rq) };
        let Some(rq) = NonNull::new(rq) else {
            return bindings::RUST_LOOP_CONST_BLK_STS_IOERR;
        };
        // INVARIANT: The request has just been started, and by returning
        // success we say that it is ours to end.
        T::queue_rq(
            this,
            Request {
                rq,
                _p: PhantomData,
            },
            last,
        );
        bindings::RUST_LOOP_CONST_BLK_STS_OK
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the tag set is initialised.
        unsafe { bindings::blk_mq_free_tag_set(self.inner.get()) };
    }
}

// SAFETY: A tag set may be freed from any thread.
unsafe impl<T: Operations> Send for TagSet<T> {}
// SAFETY: There is nothing to do with a shared reference to it.
unsafe impl<T: Operations> Sync for TagSet<T> {}

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
