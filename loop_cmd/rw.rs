// SPDX-License-Identifier: GPL-2.0

//! Reading and writing in the current task: buffered I/O, and direct I/O that is waited for.
//!
//! A file may transfer fewer bytes than requested. The rest is requested again until all bytes
//! are transferred, an error occurs, or the file ends. Bytes for which the file does not support
//! direct I/O go through its page cache.

use super::{
    cmd::{
        rw_options,
        LoopCmd, //
    },
    retry::Retries,
    swap, //
};
use crate::abstractions::{
    block::{
        bvecs::{
            BvecBuf,
            BvecIter,
            Direction,
            Source,
            Zeroes, //
        },
        mq::{
            BlkStatus,
            Op,
            RequestMut,
            RequestRef,
            SECTOR_SIZE, //
        },
    },
    compat::errno::EOPNOTSUPP,
    fs::{
        kiocb::RwOptions,
        BackingFile, //
    },
    task,
};
use kernel::prelude::*;

impl LoopCmd {
    /// Returns whether stale pages of `len` bytes at byte `pos` of the file, which direct I/O has
    /// written, must be dropped from the page cache. Pages that were read in during the write may be
    /// stale, and a block device drops pages only after a synchronous write. In direct mode no
    /// command of this device reads them. `exchange_backing` drops them when the mode is left; after a
    /// detach they are those that any direct write to the block device may leave.
    pub(super) fn leaves_stale_pages(&self, pos: u64, len: u32) -> bool {
        self.info.op == Op::Write && !self.backing.is_direct() && self.file().is_cached(pos, len)
    }
}

/// Reads or writes the data of the request. Sleeps.
///
/// If the file ends early, because it has been truncated, the sectors before the end succeed. The
/// others read as zeroes and fail with an I/O error.
pub(super) fn rw_blocking(cmd: &LoopCmd, rq: &mut RequestMut<'_>, is_direct: bool) -> BlkStatus {
    let pos = cmd.file_pos(rq);
    let mut progress = transfer(cmd, rq, rw_options(rq, is_direct));
    let done = progress.done;
    if is_direct && cmd.leaves_stale_pages(pos, done) && !cmd.file().drop_cached(pos, done.into()) {
        // A page that another writer or the filesystem keeps in the page cache may be stale. The
        // same write through the page cache mends that.
        progress = transfer(cmd, rq, rw_options(rq, false));
    }
    progress.finish(rq)
}

/// Reads or writes the data of the request with the given options; see [`rw_blocking`].
fn transfer<'r>(cmd: &'r LoopCmd, rq: &mut RequestMut<'_>, options: RwOptions) -> Progress<'r> {
    let file = cmd.file();
    let mut progress = Progress::new(cmd, cmd.file_pos(rq), rq.bytes(), options);
    let mut space = BvecBuf::new();
    if let Some(mut segments) = rq.source() {
        if !options.direct {
            progress.retries.prepare_write();
        }
        while let Some(mut iter) = segments.next_chunk(&mut space) {
            progress.advance(&mut iter, |iter, pos, options| {
                if options.direct {
                    write_direct(cmd, rq, iter, pos, options)
                } else {
                    file.write(pos, iter.as_source(), options)
                }
            });
        }
    } else if let Some(mut segments) = rq.dest() {
        while let Some(mut iter) = segments.next_chunk(&mut space) {
            progress.advance(&mut iter, |iter, pos, options| {
                file.read(pos, iter.as_dest(), options)
            });
            iter.zero_remaining();
        }
    }
    progress.drop_fallen_back();
    progress
}

/// Number of attempts to write with the memory reserves.
const RESERVE_ATTEMPTS: u32 = 3;

/// Writes directly at byte `pos` of the file, with the memory reserves if `rq` may use them. If each
/// attempt [would have to wait](swap::without_transaction), this writes without them. Sleeps.
fn write_direct(
    cmd: &LoopCmd,
    rq: &RequestRef,
    iter: &mut BvecIter<'_, Source>,
    pos: u64,
    options: RwOptions,
) -> Result<usize> {
    let file = cmd.file();
    for _ in 0..RESERVE_ATTEMPTS {
        if !swap::prepare_reserve(cmd, rq) {
            break;
        }
        let before = iter.save();
        let options = swap::without_transaction(&cmd.backing, options);
        match task::with_memory_reserve(|| file.write(pos, iter.as_source(), options)) {
            Err(EAGAIN | EOPNOTSUPP) if options.nowait => iter.restore(&before),
            ret => {
                if ret.is_ok() {
                    cmd.group.stats.used_reserve();
                }
                return ret;
            }
        }
    }
    file.write(pos, iter.as_source(), options)
}

/// Reads the data of the request if the page cache has all of it. Returns whether it has. The
/// file starts readahead for the first missing part. Sleeps, but does not wait for the readahead.
/// The file must [support `IOCB_NOWAIT`](BackingFile::has_nowait).
pub(super) fn read_nowait(cmd: &LoopCmd, rq: &RequestRef) -> bool {
    let options = RwOptions {
        nowait: true,
        ..rw_options(rq, false)
    };
    let mut pos = cmd.file_pos(rq);
    let mut space = BvecBuf::new();
    let Some(mut segments) = rq.dest() else {
        return false;
    };
    while let Some(mut iter) = segments.next_chunk(&mut space) {
        let len = iter.len();
        match cmd.file().read(pos, iter.as_dest(), options) {
            Ok(n) if n == len => pos += n as u64,
            _ => return false,
        }
    }
    true
}

/// Writes `len` zeroes at byte `pos` of the file. Sleeps.
///
/// # Errors
///
/// That of the file.
pub(super) fn write_zeroes(cmd: &LoopCmd, pos: u64, len: u32, options: RwOptions) -> Result {
    let (file, zeroes) = (cmd.file(), Zeroes::new());
    let mut progress = Progress::new(cmd, pos, len, options);
    while progress.done < len && progress.outcome.is_ok() {
        let mut iter = zeroes.chunk((len - progress.done) as usize);
        progress.advance(&mut iter, |iter, pos, options| {
            file.write(pos, iter.as_source(), options)
        });
    }
    progress.drop_fallen_back();
    progress.outcome
}

/// Returns whether direct I/O that failed with `err` may succeed through the page cache or later.
/// The file refuses I/O that does not have its alignment, and fails it if there is no memory.
pub(super) fn should_retry_buffered(err: Error) -> bool {
    err == EINVAL || err == EAGAIN || err == ENOMEM || err == EOPNOTSUPP
}

/// The progress of a transfer.
struct Progress<'a> {
    file: &'a BackingFile,
    /// The position in the file of the next byte.
    pos: u64,
    /// The number of bytes to transfer.
    bytes: u32,
    /// The number of bytes that have been transferred.
    done: u32,
    /// The first error, which ends the transfer.
    outcome: Result,
    /// The options. `direct` is cleared when direct I/O fails.
    options: RwOptions,
    /// The position in the file at which buffered I/O has replaced direct I/O.
    fell_back: Option<u64>,
    retries: Retries<'a>,
}

impl<'r> Progress<'r> {
    fn new(cmd: &'r LoopCmd, pos: u64, bytes: u32, options: RwOptions) -> Self {
        Self {
            file: cmd.file(),
            pos,
            bytes,
            done: 0,
            outcome: Ok(()),
            options,
            fell_back: None,
            retries: cmd.retries(),
        }
    }

    /// Replaces direct I/O by buffered I/O from the current position on. Drops cached pages of the
    /// range first, because they may be older than data that direct I/O has written.
    fn fall_back(&mut self) {
        if self.options.direct {
            self.options.direct = false;
            self.fell_back = Some(self.pos);
            let left = self.bytes.saturating_sub(self.done);
            self.file.drop_cached(self.pos, left.into());
        }
    }

    /// Repeats `step` until `iter` is empty or an error occurs. `step` transfers the rest of `iter`
    /// at the given position in the file, with the given options.
    fn advance<'a, D: Direction>(
        &mut self,
        iter: &mut BvecIter<'a, D>,
        step: impl Fn(&mut BvecIter<'a, D>, u64, RwOptions) -> Result<usize>,
    ) {
        while iter.len() != 0 && self.outcome.is_ok() {
            let (before, left) = (iter.save(), iter.len());
            match step(iter, self.pos, self.options) {
                Ok(0) if self.options.direct => self.fall_back(),
                // The file ends, or refuses the data without an error.
                Ok(0) => self.outcome = Err(EIO),
                Ok(n) => {
                    self.pos += n as u64;
                    self.done += n as u32;
                    self.retries.succeeded();
                    if iter.len() != left.saturating_sub(n) {
                        // The file truncated the iterator (for example to `s_maxbytes`) and
                        // did not restore it. Restore it, so that the next step reports the error.
                        iter.restore(&before);
                        iter.advance(n);
                    }
                    if iter.len() != 0 {
                        // The rest may not have the alignment for direct I/O.
                        self.fall_back();
                        if !self.retries.again_after_part() {
                            self.outcome = Err(ENOMEM);
                        }
                    }
                }
                Err(err) => {
                    iter.restore(&before);
                    if self.retries.again(err) {
                        continue;
                    }
                    let is_buffered_next = self.options.direct && should_retry_buffered(err);
                    if is_buffered_next && !self.retries.is_final(err) {
                        self.fall_back();
                    } else {
                        self.outcome = Err(err);
                    }
                }
            }
        }
    }

    /// Drops cached pages of the range for which buffered I/O has replaced direct I/O, because
    /// later commands use direct I/O for this range and its neighbours again. Sleeps.
    fn drop_fallen_back(&self) {
        if let Some(start) = self.fell_back {
            self.file.drop_cached(start, self.pos - start);
        }
    }

    /// Completes the whole sectors that were transferred before an error, and
    /// returns the status of the rest. Any context.
    fn finish(self, rq: &mut RequestMut<'_>) -> BlkStatus {
        match self.outcome {
            Ok(()) => BlkStatus::OK,
            Err(err) => {
                rq.update(self.done - self.done % SECTOR_SIZE);
                err.into()
            }
        }
    }
}
