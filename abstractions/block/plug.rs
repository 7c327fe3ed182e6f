// SPDX-License-Identifier: GPL-2.0

//! Plugs: I/O that one task submits, gathered for the device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::super::{
    bindings,
    task::TaskMark, //
};
use kernel::types::Opaque;

/// Calls `f`, and lets devices have what it submits in batches: when there is a batch,
/// when the task sleeps, and at the end, with `unplugging` set. Process context.
///
/// For I/O that is not waited for: to let devices have it because the task sleeps takes
/// another task.
pub(crate) fn plugged<R>(unplugging: &TaskMark, f: impl FnOnce() -> R) -> R {
    let plug = Opaque::uninit();
    // SAFETY: `plug` is valid for writes. It stays where it is, for `f` does not unwind,
    // until the task does not refer to it any more.
    unsafe { bindings::blk_start_plug(plug.get()) };
    let ret = f();
    // SAFETY: This is the task that has started it.
    unplugging.set_during(|| unsafe { bindings::blk_finish_plug(plug.get()) });
    ret
}
