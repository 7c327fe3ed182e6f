// SPDX-License-Identifier: GPL-2.0

//! Swap on a loop device: past the page cache of the backing file or to it, and with the
//! memory reserves.
//!
//! In direct mode swap bypasses the page cache, as everything does. In buffered mode it goes to
//! pages that are cached already, while there is memory: no page is taken, the swapped page is
//! free at once, and swap-in reads nothing from the storage.
//!
//! Otherwise it bypasses the page cache. A page of swap that is written to a new page takes
//! that page before its own is freed. Swap-in to a new page reads neighbours, four times as
//! much as is asked for.
//!
//! All swap-out bypasses it when memory is short: a cached page that becomes dirty is one less
//! that reclaim can free at once. The same holds while a writer would be throttled, since all
//! tasks that want memory would wait with it.

use super::cmd::LoopCmd;
use crate::{
    abstractions::{
        block::mq::{
            Op,
            RequestRef, //
        },
        fs::kiocb::RwOptions,
        task,
    },
    backing_file::Backing, //
};
use kernel::page::PAGE_SIZE;

/// Returns whether a request of a device in buffered mode bypasses the page cache because it
/// carries swap. Process context, sleeps for memory at most.
///
/// Both ways find the same data: a file writes back a page before direct I/O, and a page is
/// dropped before and after a direct write, see [`super::rw`]. That holds for whole pages and
/// blocks. Other data in the same page could be written through the page cache at the same time,
/// and its page, with the old data of the swap, be written back after the swap.
pub(super) fn carries_direct_swap(rq: &RequestRef, backing: &Backing) -> bool {
    rq.carries_swap()
        && backing.allows_direct(rq.offset_bytes(), rq.bytes())
        && shares_no_page(rq, backing)
        && !goes_to_cache(rq, backing)
}

/// Returns whether the request has whole pages of the page cache, and whole blocks of the file.
fn shares_no_page(rq: &RequestRef, backing: &Backing) -> bool {
    let unit = PAGE_SIZE.max(backing.file().inode_block_size() as usize) as u64;
    let (start, len) = (backing.file_pos(rq.offset_bytes()), u64::from(rq.bytes()));
    start % unit == 0 && len % unit == 0
}

/// Returns whether swap goes to the page cache although it could bypass it.
fn goes_to_cache(rq: &RequestRef, backing: &Backing) -> bool {
    let file = backing.file();
    let pos = backing.file_pos(rq.offset_bytes());
    // A file that has no such read may be on a server. To write back to that takes memory.
    if !file.has_nowait() || !file.is_in_memory(pos, rq.bytes()) {
        return false;
    }
    match rq.op() {
        Op::Read => true,
        Op::Write => memory_is_plentiful() && !file.throttles_writers(),
        _ => false,
    }
}

/// Returns whether an eighth of all memory can be had without swapping. Reclaim of the whole
/// system then does not depend on swap.
fn memory_is_plentiful() -> bool {
    let (available, total) = task::mem_available();
    available > total / 8
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
    backing.prepare_for_reserve(pos, bytes)
}

/// Returns the options of a write with the memory reserves. It fails with `EAGAIN` or
/// `EOPNOTSUPP` where the filesystem would begin a transaction, wait for another writer, or drop
/// pages that have been cached since [`prepare_reserve`]. The caller attempts it again.
///
/// A transaction makes allocations that must not fail, about which the page allocator warns if the
/// task has the reserves. It is needed if the modification time is not the current time any more:
/// the clock has ticked, another task has asked for the time of this file, or another file has
/// been changed whose time had been asked for.
///
/// Two kinds of writes may wait. A block device in devtmpfs has no transactions, and passes the
/// option on to its queue. ext4 refuses the option until a write has found that it need not
/// remove privileges. That is the first write to the inode that the filesystem has loaded, or each
/// write if the mode has set-user-ID or set-group-ID.
pub(super) fn without_transaction(backing: &Backing, options: RwOptions) -> RwOptions {
    let file = backing.file();
    RwOptions {
        nowait: !file.is_block_device() && file.has_nowait() && file.is_nosec(),
        ..options
    }
}
