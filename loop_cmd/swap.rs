// SPDX-License-Identifier: GPL-2.0

//! Swap on a loop device: bypasses the page cache, and may use the memory reserves.

use super::cmd::LoopCmd;
use crate::{
    abstractions::block::mq::RequestRef,
    backing_file::Backing, //
};

/// Returns whether a request bypasses the page cache because it carries swap, in buffered mode
/// as well.
///
/// A page of swap that is written to the page cache takes another page before its own is
/// freed. Swap-in by way of the page cache reads neighbours, four times as much as is asked
/// for, and the next write drops all of that again. If one of the two bypasses the page cache
/// the other one has to.
pub(super) fn carries_direct_swap(rq: &RequestRef, backing: &Backing) -> bool {
    rq.carries_swap() && backing.allows_direct(rq.offset_bytes(), rq.bytes())
}

/// Returns whether the command may use the memory reserves of the kernel, and prepares the
/// file for that. It may if it is swap-out: reclaim waits for it, so the worker must not wait
/// for reclaim. Sleeps.
///
/// Only for direct I/O, for the time of that. In the page cache each page would take another
/// one of the reserves, for an unknown time.
///
/// Without the reserves the worker was seen to look for memory for minutes, with all memory
/// that could be freed waiting to be written by it (one in four runs of
/// `tests/memory_swap.sh` on the debug kernel, with swap in a file).
pub(super) fn prepare_reserve(cmd: &LoopCmd, rq: &RequestRef) -> bool {
    if !rq.is_swap() {
        return false;
    }
    let backing = &cmd.backing;
    let (pos, bytes) = (rq.offset_bytes(), rq.bytes());
    if !backing.allows_direct(pos, bytes) {
        return false;
    }
    let may = backing.prepare_for_reserve(pos, bytes);
    if may {
        cmd.group.stats.used_reserve();
    }
    may
}
