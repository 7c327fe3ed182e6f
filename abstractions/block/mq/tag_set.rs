// SPDX-License-Identifier: GPL-2.0

//! The requests of a device.
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
    prelude::*,
    sync::ArcBorrow,
    types::Opaque, //
};

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
                    (*slot).cmd_size = size_of::<Pdu<T>>() as u32;
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
    pub(in crate::abstractions::block) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }

    const OPS: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq_callback),
        complete: Some(Self::complete_callback),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the block layer only, for a request that [`Request::complete`] has given up to
    /// it.
    unsafe extern "C" fn complete_callback(rq: *mut bindings::request) {
        // SAFETY: The block layer passes a request of the tag set that these operations belong
        // to, and gives it up.
        unsafe { Request::<T>::end_completed(RawRequest::new(NonNull::new_unchecked(rq))) };
    }

    /// # Safety
    ///
    /// Called by the block layer only, for a queue whose `queuedata` points to driver data that
    /// outlive its I/O.
    unsafe extern "C" fn queue_rq_callback(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: The block layer passes valid pointers.
        let (queuedata, rq, is_last) =
            unsafe { ((*(*hctx).queue).queuedata, (*bd).rq, (*bd).last) };
        let (Some(queuedata), Some(rq)) = (NonNull::new(queuedata), NonNull::new(rq)) else {
            return BlkStatus::IOERR.0;
        };
        // SAFETY: The caller guarantees that an `Arc` keeps the data until the queue has been
        // drained.
        let data = unsafe { ArcBorrow::from_raw(queuedata.cast().as_ptr()) };
        // SAFETY: The block layer hands the request to us to start it. Success, below, says
        // that it is ours to end.
        let rq = unsafe {
            bindings::blk_mq_start_request(rq.as_ptr());
            NewRequest::from_raw(RawRequest::new(rq))
        };
        T::queue_rq(data, rq, is_last);
        BlkStatus::OK.0
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
