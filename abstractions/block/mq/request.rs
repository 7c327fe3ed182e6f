// SPDX-License-Identifier: GPL-2.0

//! Requests, each a value with one owner.
//!
//! The block layer reserves memory behind each request for the driver, the PDU. Ours has two
//! parts: the driver's data, which stay from [`NewRequest::init`] until the request ends, and
//! a scratch area. The owner of the request decides which [`PduVariant`] is in the scratch
//! area: the link of a list, the state of file I/O, or a status on its way to the submitter.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::status::BlkStatus;
use crate::abstractions::{
    bindings,
    block::bvecs::{
        BvecChunks,
        Dest,
        Direction,
        Source, //
    },
};
use core::{
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    block::SECTOR_SHIFT,
    container_of,
    ffi,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        ArcBorrow, //
    },
    types::Opaque, //
};

/// A multi-queue block driver (`struct blk_mq_ops`).
pub(crate) trait Operations: Sized + Send + Sync + 'static {
    /// Driver data of a queue (`queuedata`).
    type QueueData: Send + Sync + 'static;

    /// Driver data of a request. It is in the memory behind the request from
    /// [`NewRequest::init`] until the request ends, and stays in its place.
    type RequestData: Send + Sync + 'static;

    /// Takes over a request that has just been started.
    ///
    /// Called in process or softirq context, within an RCU read-side critical section: must
    /// not sleep. `is_last` says that the block layer does not submit another request right
    /// after this one.
    fn queue_rq(data: ArcBorrow<'_, Self::QueueData>, rq: NewRequest<Self>, is_last: bool);
}

/// The operation of a request (`enum req_op`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Make acknowledged writes durable.
    Flush,
    /// Forget the contents of the range.
    Discard,
    /// Make the range read as zeroes.
    WriteZeroes {
        /// Whether the space of the range may be deallocated.
        unmap: bool,
    },
    /// An operation that this driver did not announce to support.
    Unknown(u32),
}

impl Op {
    /// Returns whether the operation changes stored data.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Discard | Self::WriteZeroes { .. })
    }
}

/// A `struct request` that has been started.
///
/// # Invariants
///
/// A reference implies that the request has been started and not ended, that its owner has
/// lent it, and that it is not [updated](RequestMut::update) while it is borrowed.
#[repr(transparent)]
pub(crate) struct RequestRef(Opaque<bindings::request>);

// SAFETY: The methods on `&self` only read what does not change while the request is started,
// or use marked accesses.
unsafe impl Sync for RequestRef {}

impl RequestRef {
    fn as_raw(&self) -> *mut bindings::request {
        self.0.get()
    }

    /// Returns the operation.
    pub(crate) fn op(&self) -> Op {
        let flags = self.cmd_flags();
        match flags & bindings::RUST_LOOP_CONST_REQ_OP_MASK {
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

    /// Returns the first byte on the device.
    pub(crate) fn offset_bytes(&self) -> u64 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_pos(self.as_raw()) << SECTOR_SHIFT }
    }

    /// Returns the number of bytes that have not been completed.
    pub(crate) fn bytes(&self) -> u32 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_bytes(self.as_raw()) }
    }

    /// Returns whether written data must be durable when the request ends (`REQ_FUA`).
    pub(crate) fn is_fua(&self) -> bool {
        self.cmd_flags() & bindings::RUST_LOOP_CONST_REQ_FUA != 0
    }

    /// Returns whether the request is swap-out (`REQ_SWAP`). Swap-in looks like any other
    /// read.
    pub(crate) fn is_swap(&self) -> bool {
        self.cmd_flags() & bindings::RUST_LOOP_CONST_REQ_SWAP != 0
    }

    /// Returns whether the memory of the request is in the swap cache. Unlike
    /// [`Self::is_swap`] this detects swap on a device that is stacked on this one, too. It
    /// may be wrong for direct I/O to or from memory which is being swapped.
    pub(crate) fn carries_swap(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_carries_swap(self.as_raw()) }
    }

    /// Returns whether the submitter waits for the request (`op_is_sync`). No submitter waits
    /// for readahead.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_is_sync(self.as_raw()) }
    }

    /// Returns the I/O priority (`IOPRIO_PRIO_VALUE`).
    pub(crate) fn ioprio(&self) -> u16 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_req_get_ioprio(self.as_raw()) }
    }

    /// Returns the time at which the request was allocated, in nanoseconds of `CLOCK_MONOTONIC`.
    /// `None` if the block layer does not account for the request: the field may then hold the
    /// time of the previous request with the same tag.
    pub(crate) fn start_time_ns(&self) -> Option<u64> {
        // SAFETY: By the type invariant the request is valid and started.
        let ns = unsafe { (*self.as_raw()).start_time_ns };
        let flags = self.rq_flags().load(Relaxed);
        (flags & bindings::RUST_LOOP_CONST_RQF_IO_STAT != 0).then_some(ns)
    }

    /// Returns the first bio; `None` if there is none. It is valid while `self` is borrowed.
    pub(in crate::abstractions) fn bio(&self) -> Option<NonNull<bindings::bio>> {
        // SAFETY: By the type invariant the request is valid.
        NonNull::new(unsafe { (*self.as_raw()).bio })
    }

    /// Returns the memory of a write, from its beginning, for one transfer. `None` if the
    /// request is not a write.
    pub(crate) fn source(&self) -> Option<BvecChunks<'_, Source>> {
        // SAFETY: This is the direction of a write.
        (self.op() == Op::Write).then(|| unsafe { self.bvecs() })
    }

    /// Returns the memory of a read, from its beginning, for one transfer. `None` if the
    /// request is not a read.
    pub(crate) fn dest(&self) -> Option<BvecChunks<'_, Dest>> {
        // SAFETY: This is the direction of a read.
        (self.op() == Op::Read).then(|| unsafe { self.bvecs() })
    }

    /// # Safety
    ///
    /// The request must read or write, in direction `D`.
    pub(in crate::abstractions::block) unsafe fn bvecs<D: Direction>(&self) -> BvecChunks<'_, D> {
        // SAFETY: By the type invariant the request is valid. The bios of a read or write
        // have segments for all that they transfer, in the direction that the caller vouches
        // for. The request cannot be ended or updated while `self` is borrowed.
        unsafe { BvecChunks::new((*self.as_raw()).bio) }
    }

    /// Returns the bio of a request that consists of a single one.
    pub(in crate::abstractions::block) fn only_bio(&self) -> Option<NonNull<bindings::bio>> {
        // SAFETY: By the type invariant the request is valid and started.
        let (first, last) = unsafe { ((*self.as_raw()).bio, (*self.as_raw()).biotail) };
        NonNull::new(first).filter(|_| first == last)
    }

    /// Returns the number of bvecs of the request's memory. The request must read or write.
    pub(in crate::abstractions::block) fn nr_bvecs(&self) -> usize {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_nr_bvec(self.as_raw()) as usize }
    }

    /// Stops the block layer from sending discards to this queue, without waiting for
    /// discards that are under way. For use before ending a discard that the device turned out
    /// not to support. Any context.
    pub(crate) fn disable_discard(&self) {
        // SAFETY: By the type invariant the request and its queue are valid. Single words of
        // the limits are cleared, with marked accesses (`WRITE_ONCE()`), as this races with
        // other requests that do the same and with the block layer, which reads them in C
        // without a lock. A change of limits does not race: it has the queue frozen, so that
        // there is no request.
        unsafe {
            bindings::rust_loop_helper_blk_queue_disable_discard((*self.as_raw()).q);
        }
    }

    /// The same as [`Self::disable_discard`] for write-zeroes.
    pub(crate) fn disable_write_zeroes(&self) {
        // SAFETY: As for `disable_discard`.
        unsafe { bindings::rust_loop_helper_blk_queue_disable_write_zeroes((*self.as_raw()).q) };
    }

    /// Returns whether the queue takes discards now: the device supports them, and user space
    /// has not turned them off. Any context.
    pub(crate) fn may_discard(&self) -> bool {
        // SAFETY: By the type invariant the request and its queue are valid. The word is read
        // with a marked access (`READ_ONCE()`), as this races with `disable_discard`.
        unsafe { bindings::rust_loop_helper_queue_max_discard_sectors((*self.as_raw()).q) != 0 }
    }

    fn cmd_flags(&self) -> bindings::blk_opf_t {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { (*self.as_raw()).cmd_flags }
    }

    /// Returns the word with the `RQF_*` of the request. The owner of the request changes
    /// it, and so does the block layer's timeout handler (`RQF_TIMED_OUT`), in C with plain
    /// accesses. A lost change costs a line in the log, no more.
    fn rq_flags(&self) -> &Atomic<u32> {
        // SAFETY: By the type invariant the request is valid, and is so while `self` is
        // borrowed. Rust code accesses the word only by way of this.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).rq_flags) }
    }
}

/// A request that its owner has lent to be changed. Not `&mut RequestRef`: two of these could
/// be swapped.
///
/// # Invariants
///
/// Nothing else refers to the request for `'a`.
pub(crate) struct RequestMut<'a>(&'a RequestRef);

impl RequestMut<'_> {
    /// Completes the first `bytes` bytes, successfully, and keeps the rest
    /// (`blk_update_request()`). The last byte is never completed.
    pub(crate) fn update(&mut self, bytes: u32) {
        let bytes = bytes.min(self.bytes().saturating_sub(1));
        // SAFETY: By the type invariants the request is ours, and no walk over its memory is
        // under way. Fewer bytes than are left are completed, so this does not end it.
        unsafe {
            bindings::blk_update_request(self.as_raw(), bindings::RUST_LOOP_CONST_BLK_STS_OK, bytes)
        };
    }

    /// Keeps the block layer from logging that the request failed. For failures that are an
    /// answer. Any context.
    pub(crate) fn set_quiet(&mut self) {
        let flags = self.rq_flags();
        let old = flags.load(Relaxed);
        flags.store(old | bindings::RUST_LOOP_CONST_RQF_QUIET, Relaxed);
    }
}

impl Deref for RequestMut<'_> {
    type Target = RequestRef;

    fn deref(&self) -> &RequestRef {
        self.0
    }
}

/// The memory behind a request.
#[repr(C)]
pub(super) struct Pdu<T: Operations> {
    data: MaybeUninit<T::RequestData>,
    scratch: Scratch,
}

/// Size of the scratch area of a PDU, in words of 64 bits.
const SCRATCH_WORDS: usize = 24;

/// Room for a [`PduVariant`].
type Scratch = MaybeUninit<[u64; SCRATCH_WORDS]>;

/// A type that the owner of a request can keep in the scratch area of its PDU.
///
/// # Safety
///
/// The type must not need to be dropped.
pub(in crate::abstractions::block) unsafe trait PduVariant:
    Sized
{
    /// Fails to compile for a type that does not fit.
    const FITS: () = assert!(
        size_of::<Self>() <= size_of::<Scratch>() && align_of::<Self>() <= align_of::<Scratch>()
    );
}

/// A request of a [`TagSet<T>`](super::TagSet), by its address. It does not imply
/// ownership.
///
/// # Invariants
///
/// The pointer is to a request of a tag set that exists, so a [`Pdu<T>`] is behind it.
pub(super) struct RawRequest<T: Operations> {
    rq: NonNull<bindings::request>,
    _p: PhantomData<fn() -> T>,
}

impl<T: Operations> Clone for RawRequest<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Operations> Copy for RawRequest<T> {}

impl<T: Operations> RawRequest<T> {
    /// # Safety
    ///
    /// `rq` must be a request of a [`TagSet<T>`](super::TagSet), for as long as this is used.
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: The caller vouches for it.
        Self {
            rq,
            _p: PhantomData,
        }
    }

    fn as_ptr(self) -> *mut bindings::request {
        self.rq.as_ptr()
    }

    /// Returns the memory behind the request (`blk_mq_rq_to_pdu()`).
    fn pdu(self) -> NonNull<Pdu<T>> {
        // SAFETY: By the type invariant there is such memory.
        unsafe { self.rq.add(1).cast() }
    }

    /// Returns the place of the driver's data.
    pub(super) fn data(self) -> NonNull<T::RequestData> {
        // The first field of a `repr(C)` type.
        self.pdu().cast()
    }

    /// Returns the scratch area.
    pub(super) fn scratch<P: PduVariant>(self) -> NonNull<P> {
        let () = P::FITS;
        // SAFETY: By the type invariant the memory is valid, so the field is, too.
        unsafe { NonNull::new_unchecked(&raw mut (*self.pdu().as_ptr()).scratch).cast() }
    }

    /// # Safety
    ///
    /// `scratch` must come from [`Self::scratch`], and the request must still exist.
    unsafe fn from_scratch<P: PduVariant>(scratch: NonNull<P>) -> Self {
        let scratch: *mut Scratch = scratch.as_ptr().cast();
        // SAFETY: The caller guarantees that this is the field of a `Pdu<T>`.
        let pdu = unsafe { container_of!(scratch, Pdu<T>, scratch) };
        // INVARIANT: Before the `Pdu<T>` is its request.
        Self {
            // SAFETY: As above, so the address is not null.
            rq: unsafe { NonNull::new_unchecked(pdu.cast::<bindings::request>().sub(1)) },
            _p: PhantomData,
        }
    }

    /// Ends the request.
    ///
    /// # Safety
    ///
    /// The caller must own the request, whose driver data are not initialised or have been
    /// dropped, and give it up.
    unsafe fn end(self, status: BlkStatus) {
        // SAFETY: The request is started, and ended once, as the caller owns it.
        unsafe { bindings::blk_mq_end_request(self.as_ptr(), status.0) };
    }
}

/// A request that has been started and has no driver data yet. Dropping it fails it with an
/// I/O error.
///
/// # Invariants
///
/// The block layer has given the request to the driver, and it has not been ended. This is its
/// only owner.
pub(crate) struct NewRequest<T: Operations>(RawRequest<T>);

// SAFETY: A started request belongs to its owner, in whatever context.
unsafe impl<T: Operations> Send for NewRequest<T> {}

impl<T: Operations> NewRequest<T> {
    /// # Safety
    ///
    /// The request must have just been started, and the caller must own it and give it up.
    pub(super) unsafe fn from_raw(rq: RawRequest<T>) -> Self {
        // INVARIANT: The caller vouches for it.
        Self(rq)
    }

    /// Puts the driver's data behind the request. Any context.
    #[inline]
    pub(crate) fn init(self, data: T::RequestData) -> Request<T> {
        let rq = ManuallyDrop::new(self).0;
        // SAFETY: The request is ours, and so is the memory behind it.
        unsafe { rq.data().write(data) };
        // INVARIANT: The request has moved from one owner to another, and has its data.
        Request(rq)
    }

    /// Ends the request. Any context.
    pub(crate) fn end(self, status: BlkStatus) {
        let rq = ManuallyDrop::new(self).0;
        // SAFETY: By the type invariant the request was ours; the line above has given it up.
        unsafe { rq.end(status) };
    }
}

impl<T: Operations> Drop for NewRequest<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the request is ours; this is its last use.
        unsafe { self.0.end(BlkStatus::IOERR) };
    }
}

impl<T: Operations> Deref for NewRequest<T> {
    type Target = RequestRef;

    fn deref(&self) -> &RequestRef {
        // SAFETY: By the type invariant the request is started, and it cannot be ended while
        // `self` is borrowed. `RequestRef` is transparent.
        unsafe { self.0.rq.cast().as_ref() }
    }
}

/// A request with the driver's data for it, which its holder has to end. Dropping it fails it
/// with an I/O error.
///
/// # Invariants
///
/// As for [`NewRequest`], and the driver's data are initialised. The request is in no
/// [`RequestList`](super::RequestList).
pub(crate) struct Request<T: Operations>(RawRequest<T>);

// SAFETY: A started request belongs to its owner, in whatever context, and the driver's data
// are `Send`.
unsafe impl<T: Operations> Send for Request<T> {}
// SAFETY: A reference to it gives a `&RequestRef` and a reference to the driver's data. Both
// types are `Sync`.
unsafe impl<T: Operations> Sync for Request<T> {}

impl<T: Operations> Request<T> {
    /// # Safety
    ///
    /// The caller must own the request, whose driver data are initialised, and give it up.
    pub(super) unsafe fn from_raw(rq: RawRequest<T>) -> Self {
        // INVARIANT: The caller vouches for it.
        Self(rq)
    }

    /// Gives up the request without ending it.
    pub(super) fn into_raw(self) -> RawRequest<T> {
        ManuallyDrop::new(self).0
    }

    /// Returns the driver's data.
    pub(crate) fn data(&self) -> &T::RequestData {
        // SAFETY: By the type invariant the data are initialised and ours.
        unsafe { self.0.data().as_ref() }
    }

    /// Returns the driver's data.
    pub(crate) fn data_mut(&mut self) -> &mut T::RequestData {
        // SAFETY: By the type invariant the data are initialised and ours.
        unsafe { self.0.data().as_mut() }
    }

    /// Lends the request and the driver's data to be changed.
    pub(crate) fn parts(&mut self) -> (RequestMut<'_>, &mut T::RequestData) {
        // SAFETY: By the type invariant the request is started, and it cannot be ended while
        // `self` is borrowed. `RequestRef` is transparent.
        let rq: &RequestRef = unsafe { self.0.rq.cast().as_ref() };
        // INVARIANT: `self` is borrowed exclusively. The data are behind `struct request`.
        (RequestMut(rq), self.data_mut())
    }

    /// Drops the driver's data, and gives up the request.
    fn finish(self) -> RawRequest<T> {
        let rq = self.into_raw();
        // SAFETY: By the type invariant the data are initialised. They are not used again, as
        // there is no `Request` any more.
        unsafe { rq.data().drop_in_place() };
        rq
    }

    /// Drops the driver's data and ends the request. Any context.
    ///
    /// The data go first: until the request has ended the device holds what they refer to, so
    /// the last reference is not dropped here, possibly in an interrupt. Once it has ended, its
    /// submitter may look at their counts.
    pub(crate) fn end(self, status: BlkStatus) {
        let rq = self.finish();
        // SAFETY: By the type invariant the request was ours, and it has been given up.
        unsafe { rq.end(status) };
    }

    /// Drops the driver's data and ends the request soon, from a softirq
    /// (`blk_mq_complete_request_remote()`). Any context.
    ///
    /// For the callback of other I/O: ending a request calls its submitter, which may be about
    /// to end a request as well, and so on. A stack of devices would need as much of the
    /// processor's stack.
    pub(crate) fn complete(self, status: BlkStatus) {
        let rq = self.finish();
        let pdu: NonNull<CompletePdu> = rq.scratch();
        // SAFETY: The request was ours, and so is its scratch area.
        unsafe {
            pdu.write(CompletePdu {
                status,
                work: bindings::work_struct::default(),
            })
        };
        // SAFETY: The request was ours, and is given up to `complete_callback` if this returns
        // true.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            return;
        }
        // The block layer would end the request here, as its queue has but one processor.
        //
        // SAFETY: `pdu` is valid. The work is not queued yet, and the request is given up to
        // its callback. The workqueue lives for as long as the kernel does.
        unsafe {
            let work = &raw mut (*pdu.as_ptr()).work;
            bindings::rust_loop_helper_init_bh_work(work, Some(Self::bh_callback));
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                bindings::system_bh_wq,
                work,
            );
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of the [`CompletePdu`] of a request that
    /// [`Self::complete`] has given up to it.
    unsafe extern "C" fn bh_callback(work: *mut bindings::work_struct) {
        // SAFETY: `work` is the field of a `CompletePdu` that `complete` has initialised, so it
        // is not null. The workqueue does not use it after this call.
        unsafe {
            let pdu = NonNull::new_unchecked(container_of!(work, CompletePdu, work));
            Self::end_completed(RawRequest::from_scratch(pdu));
        }
    }

    /// Ends a request with the status that [`Self::complete`] was given.
    ///
    /// # Safety
    ///
    /// `complete` must have given up `rq` to the caller.
    pub(super) unsafe fn end_completed(rq: RawRequest<T>) {
        let pdu: NonNull<CompletePdu> = rq.scratch();
        // SAFETY: `complete` has initialised the scratch area and dropped the data, and the
        // caller owns the request.
        unsafe { rq.end((*pdu.as_ptr()).status) };
    }

    /// Returns the scratch area, which belongs to the owner of the request.
    pub(in crate::abstractions::block) fn scratch<P: PduVariant>(&self) -> NonNull<P> {
        self.0.scratch()
    }

    /// Returns the request with a scratch area.
    ///
    /// # Safety
    ///
    /// `scratch` must come from [`Self::scratch`] of a request that its owner has given up to
    /// the caller without ending it.
    pub(in crate::abstractions::block) unsafe fn from_scratch<P: PduVariant>(
        scratch: NonNull<P>,
    ) -> Self {
        // SAFETY: The caller vouches for it.
        unsafe { Self::from_raw(RawRequest::from_scratch(scratch)) }
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the data are initialised and the request is ours. This
        // is the last use of both.
        unsafe {
            self.0.data().drop_in_place();
            self.0.end(BlkStatus::IOERR);
        }
    }
}

impl<T: Operations> Deref for Request<T> {
    type Target = RequestRef;

    fn deref(&self) -> &RequestRef {
        // SAFETY: By the type invariant the request is started, and it cannot be ended while
        // `self` is borrowed. `RequestRef` is transparent.
        unsafe { self.0.rq.cast().as_ref() }
    }
}

/// The status of a request that is about to be ended, see [`Request::complete`].
struct CompletePdu {
    status: BlkStatus,
    work: bindings::work_struct,
}

// SAFETY: Neither field needs to be dropped.
unsafe impl PduVariant for CompletePdu {}
