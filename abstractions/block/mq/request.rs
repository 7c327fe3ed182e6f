// SPDX-License-Identifier: GPL-2.0

//! Requests with one owner, and the memory behind them.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::{
    request_ref::{
        RequestMut,
        RequestRef, //
    },
    status::BlkStatus, //
};
use crate::abstractions::{
    bindings,
    task, //
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
    container_of,
    ffi,
    sync::ArcBorrow, //
};

/// A multi-queue block driver ([`struct blk_mq_ops`](srctree/include/linux/blk-mq.h)).
///
/// # Examples
///
/// A driver that discards what is written, and counts it:
///
/// ```
/// use crate::abstractions::block::mq::{
///     BlkStatus,
///     NewRequest,
///     Operations, //
/// };
/// use kernel::sync::{
///     atomic::{
///         Atomic,
///         Relaxed, //
///     },
///     ArcBorrow, //
/// };
///
/// struct Null;
///
/// impl Operations for Null {
///     type QueueData = Atomic<u64>;
///     type RequestData = ();
///
///     fn queue_rq(
///         data: ArcBorrow<'_, Atomic<u64>>,
///         _queue_num: u32,
///         rq: NewRequest<Self>,
///         _is_last: bool,
///     ) {
///         data.fetch_add(rq.bytes().into(), Relaxed);
///         rq.end(BlkStatus::OK);
///     }
/// }
/// ```
pub(crate) trait Operations: Sized + Send + Sync + 'static {
    /// Driver data of a queue (`queuedata`).
    type QueueData: Send + Sync + 'static;

    /// Driver data of a request. It is in the memory behind the request from
    /// [`NewRequest::init`] until the request ends, and stays in its place.
    type RequestData: Send + Sync + 'static;

    /// Takes over a request that has just been started.
    ///
    /// Called in process or softirq context, within an RCU read-side critical section: must not
    /// sleep. `queue_num` is the number of the hardware queue, less than the `nr_hw_queues` of the
    /// tag set. `is_last` says that the block layer submits no other request right after this one.
    fn queue_rq(
        data: ArcBorrow<'_, Self::QueueData>,
        queue_num: u32,
        rq: NewRequest<Self>,
        is_last: bool,
    );
}

/// Memory behind a request.
#[repr(C)]
pub(super) struct Pdu<T: Operations> {
    data: MaybeUninit<T::RequestData>,
    scratch: Scratch,
}

/// Size of the scratch area of a PDU, in words of 64 bits.
const SCRATCH_WORDS: usize = 24;

/// Memory for a [`PduVariant`].
type Scratch = MaybeUninit<[u64; SCRATCH_WORDS]>;

/// Contents of the scratch area of a PDU, which the owner of the request chooses.
///
/// # Safety
///
/// The type must not need to be dropped.
pub(in crate::abstractions::block) unsafe trait PduVariant:
    Sized
{
    /// Compile-time check that the type fits.
    const FITS: () = assert!(
        size_of::<Self>() <= size_of::<Scratch>() && align_of::<Self>() <= align_of::<Scratch>()
    );
}

/// Address of a request of a [`TagSet<T>`](super::TagSet), without ownership.
///
/// # Invariants
///
/// The pointer is to a request of a live tag set, so a [`Pdu<T>`] is behind it.
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
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a [`TagSet<T>`](super::TagSet), for as long as this is used.
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: By the caller's promise.
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
        // SAFETY: By the type invariant there is a `Pdu<T>` behind the request.
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
        // SAFETY: By the type invariant there is a `Pdu<T>` behind the request.
        let scratch = unsafe { &raw mut (*self.pdu().as_ptr()).scratch };
        // SAFETY: The address of a field is not null.
        unsafe { NonNull::new_unchecked(scratch).cast() }
    }

    /// Returns the request with a scratch area.
    ///
    /// # Safety
    ///
    /// `scratch` must come from [`Self::scratch`], and the tag set must still exist.
    unsafe fn from_scratch<P: PduVariant>(scratch: NonNull<P>) -> Self {
        let scratch: *mut Scratch = scratch.as_ptr().cast();
        // SAFETY: By the caller's promise this is the field of a `Pdu<T>`.
        let pdu = unsafe { container_of!(scratch, Pdu<T>, scratch) };
        // SAFETY: There is a request in front of each `Pdu<T>`.
        let rq = unsafe { pdu.cast::<bindings::request>().sub(1) };
        // INVARIANT: The `Pdu<T>` is behind the request.
        Self {
            // SAFETY: The address of a request is not null.
            rq: unsafe { NonNull::new_unchecked(rq) },
            _p: PhantomData,
        }
    }

    /// Ends the request.
    ///
    /// # Safety
    ///
    /// The caller must own the request and give it up. The driver's data must not be initialised,
    /// or must have been dropped.
    unsafe fn end(self, status: BlkStatus) {
        // SAFETY: By the caller's promise the request is started, and this is its last use.
        unsafe { bindings::blk_mq_end_request(self.as_ptr(), status.as_raw()) };
    }
}

/// A started request without driver data. Dropping it fails the request with an I/O error.
///
/// # Invariants
///
/// - The block layer has given the request to the driver, and it has not been ended.
/// - This is its only owner.
pub(crate) struct NewRequest<T: Operations>(RawRequest<T>);

// SAFETY: A started request belongs to its owner, which may be any thread.
unsafe impl<T: Operations> Send for NewRequest<T> {}

impl<T: Operations> NewRequest<T> {
    /// Takes ownership of a request.
    ///
    /// # Safety
    ///
    /// The request must have just been started, and the caller must own it and give it up.
    pub(super) unsafe fn from_raw(rq: RawRequest<T>) -> Self {
        // INVARIANT: By the caller's promise.
        Self(rq)
    }

    /// Stores the driver's data behind the request. Any context.
    #[inline]
    pub(crate) fn init(self, data: T::RequestData) -> Request<T> {
        let rq = ManuallyDrop::new(self).0;
        // SAFETY: The request was ours, and so is the memory behind it.
        unsafe { rq.data().write(data) };
        // INVARIANT: The request has moved from one owner to another, with its data initialised.
        Request(rq)
    }

    /// Ends the request. Any context.
    pub(crate) fn end(self, status: BlkStatus) {
        let rq = ManuallyDrop::new(self).0;
        // SAFETY: By the type invariant the request was ours. The line above has given it up.
        unsafe { rq.end(status) };
    }
}

impl<T: Operations> Drop for NewRequest<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the request is ours, and this is its last use.
        unsafe { self.0.end(BlkStatus::IOERR) };
    }
}

impl<T: Operations> Deref for NewRequest<T> {
    type Target = RequestRef;

    fn deref(&self) -> &RequestRef {
        // SAFETY: By the type invariant the request is started. It is not ended while `self` is
        // borrowed.
        unsafe { RequestRef::from_raw(self.0.rq) }
    }
}

/// A started request with the driver's data, which its owner has to end. Dropping it fails the
/// request with an I/O error.
///
/// # Invariants
///
/// - As for [`NewRequest`].
/// - The driver's data are initialised.
/// - The request is in no [`RequestList`](super::RequestList).
pub(crate) struct Request<T: Operations>(RawRequest<T>);

// SAFETY: A started request belongs to its owner, which may be any thread. The driver's data are
// `Send`.
unsafe impl<T: Operations> Send for Request<T> {}
// SAFETY: A reference gives access to a `&RequestRef` and to a reference to the driver's data. Both
// types are `Sync`.
unsafe impl<T: Operations> Sync for Request<T> {}

impl<T: Operations> Request<T> {
    /// Takes ownership of a request.
    ///
    /// # Safety
    ///
    /// The caller must own the request and give it up. The driver's data must be initialised.
    pub(super) unsafe fn from_raw(rq: RawRequest<T>) -> Self {
        // INVARIANT: By the caller's promise.
        Self(rq)
    }

    /// Returns the request, and gives it up without ending it.
    pub(super) fn into_raw(self) -> RawRequest<T> {
        ManuallyDrop::new(self).0
    }

    /// Returns the driver's data.
    pub(crate) fn data(&self) -> &T::RequestData {
        // SAFETY: By the type invariant the data are initialised and ours.
        unsafe { self.0.data().as_ref() }
    }

    /// Returns the driver's data for a change.
    pub(crate) fn data_mut(&mut self) -> &mut T::RequestData {
        // SAFETY: By the type invariant the data are initialised and ours.
        unsafe { self.0.data().as_mut() }
    }

    /// Lends the request and the driver's data for a change.
    pub(crate) fn parts(&mut self) -> (RequestMut<'_>, &mut T::RequestData) {
        // SAFETY: By the type invariant the request is started. It is not ended while `self` is
        // borrowed.
        let rq = unsafe { RequestRef::from_raw(self.0.rq) };
        // SAFETY: `self` is borrowed exclusively. The data are not part of `struct request`.
        let rq = unsafe { RequestMut::new(rq) };
        (rq, self.data_mut())
    }

    /// Drops the driver's data, and gives up the request.
    fn finish(self) -> RawRequest<T> {
        let rq = self.into_raw();
        // SAFETY: By the type invariant the data are initialised. They are not used again, because
        // there is no `Request` any more.
        unsafe { rq.data().drop_in_place() };
        rq
    }

    /// Drops the driver's data and ends the request (`blk_mq_end_request()`). Any context.
    ///
    /// The data are dropped first, for two reasons. Until the request has ended, the device holds
    /// the objects that the data refer to, so the last reference is not dropped here, which may be
    /// an interrupt. As soon as it has ended, the submitter may look at their reference counts.
    pub(crate) fn end(self, status: BlkStatus) {
        let rq = self.finish();
        // SAFETY: By the type invariant the request was ours, and it has been given up.
        unsafe { rq.end(status) };
    }

    /// Drops the driver's data and ends the request, from the callback of other I/O. Any context.
    ///
    /// Ending a request calls its submitter, which may end a request of its own, and so on. So a
    /// request is ended directly only while there is room on the stack. Otherwise a softirq ends
    /// it.
    ///
    /// In an interrupt, the block layer may also pass the request to another CPU, or to a softirq
    /// (`blk_mq_complete_request()`). In a task it does not: a softirq that a task raises has to
    /// wait for `ksoftirqd`.
    pub(crate) fn complete(self, status: BlkStatus) {
        let rq = self.finish();
        if task::in_task() && task::has_stack_room() {
            // SAFETY: The request was ours, and has been given up.
            return unsafe { rq.end(status) };
        }
        let pdu: NonNull<CompletePdu> = rq.scratch();
        // SAFETY: The request was ours, and so is its scratch area.
        unsafe {
            pdu.write(CompletePdu {
                status,
                work: bindings::work_struct::default(),
            });
        }
        // SAFETY: The request was ours. If this returns true it is given up to
        // `TagSet::complete_callback`.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            return;
        }
        // The block layer leaves it to the caller to call the completion.
        if task::has_stack_room() {
            // SAFETY: The request was given up above, with a status in its scratch area.
            return unsafe { Self::end_completed(rq) };
        }
        // A workqueue that runs in softirqs, with an empty stack.
        //
        // SAFETY: The scratch area has just been initialised.
        let work = unsafe { &raw mut (*pdu.as_ptr()).work };
        // SAFETY: `work` is valid and not queued.
        unsafe { bindings::rust_loop_helper_init_bh_work(work, Some(Self::bh_callback)) };
        // SAFETY: The workqueue lives as long as the kernel. `work` stays valid until the callback
        // is called, which takes over the request.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as ffi::c_int,
                bindings::system_bh_wq,
                work,
            );
        }
    }

    /// Ends a request from the workqueue.
    ///
    /// # Safety
    ///
    /// Called by the workqueue, once, with the `work` of the [`CompletePdu`] of a request that
    /// [`Self::complete`] has given up to it.
    unsafe extern "C" fn bh_callback(work: *mut bindings::work_struct) {
        // SAFETY: By the caller's promise `work` is the field of a `CompletePdu`.
        let pdu = unsafe { container_of!(work, CompletePdu, work) };
        // SAFETY: The address of a scratch area is not null.
        let pdu = unsafe { NonNull::new_unchecked(pdu) };
        // SAFETY: `complete` got the address from `scratch`.
        let rq = unsafe { RawRequest::from_scratch(pdu) };
        // SAFETY: `complete` has given up the request. The workqueue does not access the memory
        // after calling this function.
        unsafe { Self::end_completed(rq) };
    }

    /// Ends a request with the status that [`Self::complete`] was given.
    ///
    /// # Safety
    ///
    /// `complete` must have given up `rq` to the caller.
    pub(super) unsafe fn end_completed(rq: RawRequest<T>) {
        let pdu: NonNull<CompletePdu> = rq.scratch();
        // SAFETY: `complete` has initialised the scratch area, and the caller owns the request.
        let status = unsafe { (*pdu.as_ptr()).status };
        // SAFETY: `complete` has dropped the data, and the caller owns the request.
        unsafe { rq.end(status) };
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
        // SAFETY: By the caller's promise the address comes from `scratch`.
        let rq = unsafe { RawRequest::from_scratch(scratch) };
        // SAFETY: By the caller's promise the request has been given up.
        unsafe { Self::from_raw(rq) }
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the data are initialised. This is their last use.
        unsafe { self.0.data().drop_in_place() };
        // SAFETY: By the type invariant the request is ours. This is its last use.
        unsafe { self.0.end(BlkStatus::IOERR) };
    }
}

impl<T: Operations> Deref for Request<T> {
    type Target = RequestRef;

    fn deref(&self) -> &RequestRef {
        // SAFETY: By the type invariant the request is started. It is not ended while `self` is
        // borrowed.
        unsafe { RequestRef::from_raw(self.0.rq) }
    }
}

/// Contents of the scratch area of a request that a softirq is about to end, see
/// [`Request::complete`].
struct CompletePdu {
    status: BlkStatus,
    work: bindings::work_struct,
}

// SAFETY: Neither field needs to be dropped.
unsafe impl PduVariant for CompletePdu {}
