// SPDX-License-Identifier: GPL-2.0

//! Plugs.
//!
//! A plug gathers the I/O that one task submits, so that devices get it in batches.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::abstractions::bindings;
use kernel::types::Opaque;

/// Largest number of requests for which a plug takes tags (`BLK_MAX_REQUEST_COUNT`).
const MAX_EXPECTED: u32 = 32;

/// Calls `f` with a plug ([`struct blk_plug`](srctree/include/linux/blkdev.h)), and finishes the plug
/// afterwards. Process context, may sleep.
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
///         with_plug(16, &mut submit);
///     }
/// }
/// ```
pub(crate) fn with_plug<R>(expected: u32, f: impl FnOnce() -> R) -> R {
    let plug: Opaque<bindings::blk_plug> = Opaque::uninit();
    // SAFETY: `plug` is valid for writes. It does not move until it is finished below: `f` does not
    // unwind.
    unsafe { bindings::blk_start_plug(plug.get()) };
    // This is what `blk_start_plug_nr_ios()` does, which is not exported.
    //
    // SAFETY: The plug is initialised, and the number is within the range that the block layer
    // allows.
    unsafe { (*plug.get()).nr_ios = expected.clamp(1, MAX_EXPECTED) as u16 };
    let ret = f();
    // SAFETY: The current task has started the plug.
    unsafe { bindings::blk_finish_plug(plug.get()) };
    ret
}
