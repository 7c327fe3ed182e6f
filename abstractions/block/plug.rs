// SPDX-License-Identifier: GPL-2.0

//! Plugs: I/O that one task submits, gathered for the device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::abstractions::{
    bindings,
    task::TaskMark, //
};
use kernel::types::Opaque;

/// How many requests a plug takes tags for at the most (`BLK_MAX_REQUEST_COUNT`).
const MOST_EXPECTED: u32 = 32;

/// Calls `f`, and lets devices have what it submits in batches: when there is a batch,
/// when the task sleeps, and at the end, with `unplugging` set. Process context.
///
/// `expected` says how many requests that will be, mostly: the first one takes tags for
/// all, which go back at the latest when the task sleeps.
///
/// For I/O that is not waited for: to let devices have it because the task sleeps takes
/// another task.
pub(crate) fn plugged<R>(unplugging: &TaskMark, expected: u32, f: impl FnOnce() -> R) -> R {
    let plug: Opaque<bindings::blk_plug> = Opaque::uninit();
    // SAFETY: `plug` is valid for writes. It stays where it is, for `f` does not unwind,
    // until the task does not refer to it any more. The number is what
    // `blk_start_plug_nr_ios`, which is not for modules, sets, and is within what it
    // allows.
    unsafe {
        bindings::blk_start_plug(plug.get());
        (*plug.get()).nr_ios = expected.clamp(1, MOST_EXPECTED) as u16;
    }
    let ret = f();
    // SAFETY: This is the task that has started it.
    unplugging.set_during(|| unsafe { bindings::blk_finish_plug(plug.get()) });
    ret
}
