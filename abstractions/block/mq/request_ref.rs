// SPDX-License-Identifier: GPL-2.0

//! Requests that their owner has lent.
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
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    block::SECTOR_SHIFT,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// Operation of a request ([`enum req_op`](srctree/include/linux/blk_types.h)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read data (`REQ_OP_READ`).
    Read,
    /// Write data (`REQ_OP_WRITE`).
    Write,
    /// Make acknowledged writes durable (`REQ_OP_FLUSH`).
    Flush,
    /// Forget the contents of the range (`REQ_OP_DISCARD`).
    Discard,
    /// Make the range read as zeroes (`REQ_OP_WRITE_ZEROES`).
    WriteZeroes {
        /// Whether the space of the range may be deallocated.
        unmap: bool,
    },
    /// Operation that this driver did not announce to support.
    Unknown(u32),
}

impl Op {
    /// Returns whether the operation changes stored data.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Discard | Self::WriteZeroes { .. })
    }
}

/// A started request ([`struct request`](srctree/include/linux/blk-mq.h)).
///
/// # Invariants
///
/// A reference implies that
///
/// - the request has been started and not ended,
/// - its owner has lent it, and
/// - it is not [updated](RequestMut::update) while it is borrowed.
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::mq::{
///     Op,
///     RequestRef, //
/// };
///
/// /// Returns the range on the device that a request writes, in bytes.
/// fn written_range(rq: &RequestRef) -> Option<(u64, u32)> {
///     (rq.op() == Op::Write).then(|| (rq.offset_bytes(), rq.bytes()))
/// }
/// ```
#[repr(transparent)]
pub(crate) struct RequestRef(Opaque<bindings::request>);

// SAFETY: The methods on `&self` read only fields that do not change while the request is started,
// or use marked accesses.
unsafe impl Sync for RequestRef {}

impl RequestRef {
    /// Wraps a C pointer.
    ///
    /// # Safety
    ///
    /// The request must fulfil the type invariants for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(rq: NonNull<bindings::request>) -> &'a Self {
        // SAFETY: The representation is transparent. The rest holds by the caller's promise.
        unsafe { rq.cast().as_ref() }
    }

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

    /// Returns the position on the device, in bytes (`blk_rq_pos()` returns sectors).
    pub(crate) fn offset_bytes(&self) -> u64 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_pos(self.as_raw()) << SECTOR_SHIFT }
    }

    /// Returns the number of bytes that have not been completed (`blk_rq_bytes()`).
    pub(crate) fn bytes(&self) -> u32 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_bytes(self.as_raw()) }
    }

    /// Returns whether written data must be durable when the request ends (`REQ_FUA`).
    pub(crate) fn is_fua(&self) -> bool {
        self.cmd_flags() & bindings::RUST_LOOP_CONST_REQ_FUA != 0
    }

    /// Returns whether the request is swap-out (`REQ_SWAP`). Swap-in looks like any other read.
    pub(crate) fn is_swap(&self) -> bool {
        self.cmd_flags() & bindings::RUST_LOOP_CONST_REQ_SWAP != 0
    }

    /// Returns whether the memory of the request is being written to swap or read from swap.
    ///
    /// Unlike [`Self::is_swap`] this also detects swap on a device that is stacked on this one. It
    /// may be wrong for direct I/O to or from memory that is being swapped.
    pub(crate) fn carries_swap(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_carries_swap(self.as_raw()) }
    }

    /// Returns whether the submitter waits for the request (`op_is_sync()`). No submitter waits for
    /// readahead.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_rq_is_sync(self.as_raw()) }
    }

    /// Returns the I/O priority (`IOPRIO_PRIO_VALUE()`).
    pub(crate) fn ioprio(&self) -> u16 {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_req_get_ioprio(self.as_raw()) }
    }

    /// Returns the time at which the request was allocated, in nanoseconds of `CLOCK_MONOTONIC`.
    /// `None` if the block layer does not account for the request: the field may then hold the
    /// time of an earlier request with the same tag.
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

    /// Returns the bio of a request that consists of a single one.
    pub(in crate::abstractions::block) fn only_bio(&self) -> Option<NonNull<bindings::bio>> {
        // SAFETY: By the type invariant the request is valid and started.
        let last = unsafe { (*self.as_raw()).biotail };
        self.bio().filter(|first| first.as_ptr() == last)
    }

    /// Returns the memory of a write, from its beginning. `None` if the request is not a write.
    pub(crate) fn source(&self) -> Option<BvecChunks<'_, Source>> {
        // SAFETY: A write is a source.
        (self.op() == Op::Write).then(|| unsafe { self.bvecs() })
    }

    /// Returns the memory of a read, from its beginning. `None` if the request is not a read.
    pub(crate) fn dest(&self) -> Option<BvecChunks<'_, Dest>> {
        // SAFETY: A read is a destination.
        (self.op() == Op::Read).then(|| unsafe { self.bvecs() })
    }

    /// Returns the memory of a request that reads or writes.
    ///
    /// # Safety
    ///
    /// The request must transfer data in direction `D`.
    pub(in crate::abstractions::block) unsafe fn bvecs<D: Direction>(&self) -> BvecChunks<'_, D> {
        // SAFETY: By the type invariant the request is valid.
        let bio = unsafe { (*self.as_raw()).bio };
        // SAFETY: All bios of the request are valid, and by the caller's promise their bvecs are in
        // direction `D`. The request is neither ended nor updated while `self` is borrowed.
        unsafe { BvecChunks::new(bio) }
    }

    /// Returns the number of bvecs of a request that reads or writes (`blk_rq_nr_bvec()`).
    pub(in crate::abstractions::block) fn nr_bvecs(&self) -> usize {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { bindings::rust_loop_helper_blk_rq_nr_bvec(self.as_raw()) as usize }
    }

    /// Stops the block layer from sending discards to this queue. Any context.
    ///
    /// Does not wait for discards in flight. To be called before a discard is ended that the
    /// device turned out not to support.
    pub(crate) fn disable_discard(&self) {
        // SAFETY: The queue is valid. The helper clears single words of the limits with
        // `WRITE_ONCE()`. Other requests may do the same concurrently, and the block layer reads
        // the words without a lock. Updates of the limits do not run concurrently: they freeze the
        // queue, which waits for this request.
        unsafe { bindings::rust_loop_helper_blk_queue_disable_discard(self.queue()) };
    }

    /// Stops the block layer from sending write-zeroes to this queue, like
    /// [`Self::disable_discard`]. Any context.
    pub(crate) fn disable_write_zeroes(&self) {
        // SAFETY: As for `disable_discard`.
        unsafe { bindings::rust_loop_helper_blk_queue_disable_write_zeroes(self.queue()) };
    }

    /// Returns whether the queue accepts discards: the device supports them, and user space has not
    /// disabled them. Any context.
    pub(crate) fn may_discard(&self) -> bool {
        // SAFETY: The queue is valid. The helper reads the word with `READ_ONCE()`, because
        // `disable_discard` may write it concurrently.
        unsafe { bindings::rust_loop_helper_queue_max_discard_sectors(self.queue()) != 0 }
    }

    /// Returns the queue, which is valid while `self` is borrowed.
    fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the request is valid.
        unsafe { (*self.as_raw()).q }
    }

    fn cmd_flags(&self) -> bindings::blk_opf_t {
        // SAFETY: By the type invariant the request is valid and started.
        unsafe { (*self.as_raw()).cmd_flags }
    }

    /// Returns the word with the `RQF_*` flags.
    ///
    /// The owner of the request changes it, and so does the timeout handler of the block layer
    /// (`RQF_TIMED_OUT`), with plain accesses. A lost update costs a line in the kernel log.
    fn rq_flags(&self) -> &Atomic<u32> {
        // SAFETY: By the type invariant the request is valid while `self` is borrowed. Rust code
        // accesses the word only through this function.
        unsafe { Atomic::from_ptr(&raw mut (*self.as_raw()).rq_flags) }
    }
}

/// A request that its owner has lent to be changed.
///
/// This is not `&mut RequestRef`, because two of those could be swapped.
///
/// # Invariants
///
/// Nothing else refers to the request for `'a`.
pub(crate) struct RequestMut<'a>(&'a RequestRef);

impl<'a> RequestMut<'a> {
    /// Lends a request.
    ///
    /// # Safety
    ///
    /// The caller must own the request, and must not use it during `'a`.
    #[inline]
    pub(super) unsafe fn new(rq: &'a RequestRef) -> Self {
        // INVARIANT: By the caller's promise.
        Self(rq)
    }

    /// Completes the first `bytes` bytes successfully and keeps the rest (`blk_update_request()`).
    /// The last byte is never completed, because that would end a request that has an owner.
    pub(crate) fn update(&mut self, bytes: u32) {
        let bytes = bytes.min(self.bytes().saturating_sub(1));
        // SAFETY: By the type invariant no walk over the memory of the request is in progress.
        // Fewer bytes are completed than remain, so the request is not ended.
        unsafe { bindings::blk_update_request(self.as_raw(), BlkStatus::OK.as_raw(), bytes) };
    }

    /// Keeps the block layer from logging a failure of the request (`RQF_QUIET`). Any context.
    ///
    /// For failures that are an answer, such as an unsupported operation.
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
