// SPDX-License-Identifier: GPL-2.0

//! Plugs.
//!
//! A plug gathers the I/O that one task submits, so that devices get it in batches.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::abstractions::bindings;
use core::marker::PhantomData;
use kernel::types::{
    NotThreadSafe,
    Opaque, //
};

/// Largest number of requests for which a plug takes tags (`BLK_MAX_REQUEST_COUNT`).
const MAX_EXPECTED: u32 = 32;

/// An active plug of the current task ([`struct blk_plug`](srctree/include/linux/blkdev.h)).
///
/// The lifetime is invariant, so that it identifies the plug.
pub(crate) struct ActivePlug<'p> {
    plug: &'p Opaque<bindings::blk_plug>,
    _p: PhantomData<fn(&'p ()) -> &'p ()>,
    _not_send: NotThreadSafe,
}

/// Proof that the plug `'p` has been finished.
pub(crate) struct FinishedPlug<'p>(PhantomData<fn(&'p ()) -> &'p ()>);

impl<'p> ActivePlug<'p> {
    /// Submits the gathered I/O to the devices (`blk_finish_plug()`). May sleep.
    pub(crate) fn finish(self) -> FinishedPlug<'p> {
        // SAFETY: The plug was started by the current task, in `with_plug`.
        unsafe { bindings::blk_finish_plug(self.plug.get()) };
        FinishedPlug(PhantomData)
    }
}

/// Calls `f` with a plug, and `finish` afterwards, which finishes the plug. Process context.
///
/// Devices get the gathered I/O in three cases: when there is a batch, when the task sleeps, and
/// when the plug is finished.
///
/// `expected` is the approximate number of requests. The first request takes tags for all of them.
/// Unused tags are given back when the task sleeps, at the latest.
///
/// A plug is for I/O that the task does not wait for. If the task sleeps, another task has to
/// submit the gathered I/O.
///
/// # Examples
///
/// ```
/// use crate::abstractions::block::plug::with_plug;
///
/// /// Submits two batches of 16 requests.
/// fn submit_all(mut submit: impl FnMut()) {
///     for _ in 0..2 {
///         with_plug(16, &mut submit, |plug| plug.finish());
///     }
/// }
/// ```
pub(crate) fn with_plug<R>(
    expected: u32,
    f: impl FnOnce() -> R,
    finish: impl for<'p> FnOnce(ActivePlug<'p>) -> FinishedPlug<'p>,
) -> R {
    let plug: Opaque<bindings::blk_plug> = Opaque::uninit();
    // SAFETY: `plug` is valid for writes. It does not move until the task does not refer to it any
    // more: `f` does not unwind, and `finish` cannot return without having finished this plug.
    unsafe { bindings::blk_start_plug(plug.get()) };
    // This is what `blk_start_plug_nr_ios()` does, which is not exported.
    //
    // SAFETY: The plug is initialised, and the number is within the range that the block layer
    // allows.
    unsafe { (*plug.get()).nr_ios = expected.clamp(1, MAX_EXPECTED) as u16 };
    let ret = f();
    let _: FinishedPlug<'_> = finish(ActivePlug {
        plug: &plug,
        _p: PhantomData,
        _not_send: NotThreadSafe,
    });
    ret
}
