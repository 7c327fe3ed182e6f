// SPDX-License-Identifier: GPL-2.0

//! Tag sets, and the calls of the block layer into the driver.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::{
    request::{
        NewRequest,
        Operations,
        Pdu,
        RawRequest,
        Request, //
    },
    status::BlkStatus,
};
use crate::abstractions::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    impl_flags,
    prelude::*,
    sync::ArcBorrow,
    types::Opaque, //
};

impl_flags!(
    /// Flags of a [`TagSet`] (`BLK_MQ_F_*`).
    #[derive(Clone, Copy, Default, PartialEq, Eq)]
    pub(crate) struct TagSetFlags(u32);

    /// One of the [`TagSetFlags`].
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum TagSetFlag {
        /// The driver passes its I/O on to another block device (`BLK_MQ_F_STACKING`).
        Stacking = bindings::RUST_LOOP_CONST_BLK_MQ_F_STACKING,
        /// There is no I/O scheduler until user space sets one
        /// (`BLK_MQ_F_NO_SCHED_BY_DEFAULT`).
        NoSchedByDefault = bindings::RUST_LOOP_CONST_BLK_MQ_F_NO_SCHED_BY_DEFAULT,
        /// All hardware queues share one set of requests (`BLK_MQ_F_TAG_HCTX_SHARED`).
        TagHctxShared = bindings::RUST_LOOP_CONST_BLK_MQ_F_TAG_HCTX_SHARED,
    }
);

/// Returns the number of CPUs that are online and not isolated, at most `max`. Without a maximum if
/// that is 0. Any context.
pub(crate) fn num_online_queues(max: u32) -> u32 {
    // SAFETY: Has no preconditions.
    unsafe { bindings::blk_mq_num_online_queues(max) }
}

/// Returns the number of CPUs that can come online and are not isolated, at most `max`. Without a
/// maximum if that is 0. Any context.
pub(crate) fn num_possible_queues(max: u32) -> u32 {
    // SAFETY: Has no preconditions.
    unsafe { bindings::blk_mq_num_possible_queues(max) }
}

/// Properties of a [`TagSet`].
#[derive(Clone, Copy)]
pub(crate) struct TagSetOptions {
    /// Number of hardware queues.
    pub(crate) nr_hw_queues: u32,
    /// Number of requests that can be in flight in each hardware queue, or in all of them together
    /// with [`TagSetFlag::TagHctxShared`].
    pub(crate) queue_depth: u32,
    /// Flags.
    pub(crate) flags: TagSetFlags,
}

/// The requests of one device ([`struct blk_mq_tag_set`](srctree/include/linux/blk-mq.h)).
///
/// # Invariants
///
/// `inner` is initialised, and its requests have room for a [`Pdu<T>`] each.
///
/// # Examples
///
/// ```
/// use crate::{
///     abstractions::block::mq::{
///         TagSet,
///         TagSetFlag,
///         TagSetOptions, //
///     },
///     loop_cmd::LoopQueue,
/// };
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// fn create() -> Result<Arc<TagSet<LoopQueue>>> {
///     let options = TagSetOptions {
///         nr_hw_queues: 1,
///         queue_depth: 128,
///         flags: TagSetFlag::NoSchedByDefault.into(),
///     };
///     Arc::pin_init(TagSet::new(options), GFP_KERNEL)
/// }
/// ```
#[pin_data(PinnedDrop)]
pub(crate) struct TagSet<T: Operations> {
    #[pin]
    inner: Opaque<bindings::blk_mq_tag_set>,
    _p: PhantomData<fn() -> T>,
}

impl<T: Operations> TagSet<T> {
    /// The driver's memory begins at the end of `struct request`.
    const PDU_IS_ALIGNED: () = assert!(
        size_of::<bindings::request>() % align_of::<Pdu<T>>() == 0
            && align_of::<Pdu<T>>() <= align_of::<bindings::request>()
    );

    /// Allocates the requests. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`;
    /// - `EINVAL` if a size is 0 or too large.
    pub(crate) fn new(options: TagSetOptions) -> impl PinInit<Self, Error> {
        let () = Self::PDU_IS_ALIGNED;
        // INVARIANT: `cmd_size` is the size of a `Pdu<T>`.
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::blk_mq_tag_set| {
                // SAFETY: `slot` is valid for writes, and zeroes are a valid value.
                unsafe { slot.write_bytes(0, 1) };
                // SAFETY: `slot` has just been initialised.
                let set = unsafe { &mut *slot };
                set.ops = &Self::OPS;
                set.nr_hw_queues = options.nr_hw_queues;
                set.queue_depth = options.queue_depth;
                set.numa_node = bindings::NUMA_NO_NODE;
                set.cmd_size = size_of::<Pdu<T>>() as u32;
                set.flags = options.flags.into();
                // SAFETY: `slot` has been filled in and does not move.
                to_result(unsafe { bindings::blk_mq_alloc_tag_set(slot) })
            }),
            _p: PhantomData,
        })
    }

    /// Returns the tag set, which lives as long as `self`. Any context.
    pub(in crate::abstractions::block) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }

    const OPS: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq_callback),
        complete: Some(Self::complete_callback),
        ..pin_init::zeroed()
    };

    /// Ends a request.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, for a request that [`Request::complete`] has given up to
    /// it.
    unsafe extern "C" fn complete_callback(rq: *mut bindings::request) {
        // SAFETY: The block layer passes a valid pointer.
        let rq = unsafe { NonNull::new_unchecked(rq) };
        // SAFETY: The request is one of the tag set that these operations belong to.
        let rq = unsafe { RawRequest::<T>::new(rq) };
        // SAFETY: The block layer gives up the request, which `complete` gave it.
        unsafe { Request::<T>::end_completed(rq) };
    }

    /// Starts a request and passes it to the driver.
    ///
    /// # Safety
    ///
    /// Called by the block layer only, for a queue whose `queuedata` is the `Arc::as_ptr` of driver
    /// data, an `Arc` of which lives until the queue has been drained.
    unsafe extern "C" fn queue_rq_callback(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: The block layer passes valid pointers.
        let (queuedata, queue_num, rq, is_last) = unsafe {
            let hctx = &*hctx;
            (
                (*hctx.queue).queuedata,
                hctx.queue_num,
                (*bd).rq,
                (*bd).last,
            )
        };
        let (Some(queuedata), Some(rq)) = (NonNull::new(queuedata), NonNull::new(rq)) else {
            return BlkStatus::IOERR.as_raw();
        };
        // SAFETY: By the caller's promise an `Arc` keeps the data until the queue has been
        // drained.
        let data = unsafe { ArcBorrow::from_raw(queuedata.cast().as_ptr()) };
        // SAFETY: The block layer passes a request that has not been started.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // SAFETY: The request is one of the tag set that these operations belong to.
        let rq = unsafe { RawRequest::new(rq) };
        // SAFETY: The request has just been started. Returning success tells the block layer that
        // the driver owns it.
        let rq = unsafe { NewRequest::from_raw(rq) };
        T::queue_rq(data, queue_num, rq, is_last);
        BlkStatus::OK.as_raw()
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
// SAFETY: A shared reference to a tag set gives access to nothing.
unsafe impl<T: Operations> Sync for TagSet<T> {}
