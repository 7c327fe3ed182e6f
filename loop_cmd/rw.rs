// SPDX-License-Identifier: GPL-2.0

//! Reading and writing in the current task, through the page cache of the file or past it.
//!
//! A file may transfer less than it is asked to. The rest is requested again, until all is
//! transferred, an error comes, or the file ends. Bytes that cannot be transferred past the page
//! cache are transferred through it.

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
            Zeroes, //
        },
        mq::{
            BlkStatus,
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

/// Reads or writes the data of the request. Sleeps.
///
/// Where the file ends early, because it has been truncated, missing bytes read as zeroes and
/// fail with an I/O error. The sectors before them succeed.
pub(super) fn rw_blocking(cmd: &LoopCmd, rq: &mut RequestMut<'_>, options: RwOptions) -> BlkStatus {
    let file = cmd.file();
    let mut progress = Progress::new(cmd, cmd.file_pos(rq), rq.bytes(), options);
    let mut space = BvecBuf::new();
    if let Some(mut segments) = rq.source() {
        if !options.direct {
            progress.retries.prepare_write();
        }
        while let Some(mut iter) = segments.next_chunk(&mut space) {
            progress.advance(&mut iter, |iter, pos, options| {
                let reserve = options.direct && swap::may_use_reserve(cmd, rq);
                task::with_memory_reserve_if(reserve, || file.write(pos, iter.as_source(), options))
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
    progress.finish(rq)
}

/// Reads the data of the request if the page cache has all of it, and returns whether it has.
/// The file starts to read the first part that is missing. Sleeps, but not for that. The file
/// must [support `IOCB_NOWAIT`](BackingFile::has_nowait).
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

/// Returns whether direct I/O that failed with `err` may succeed through the page cache, or
/// later: the file refuses I/O that is not aligned as it likes, or there is no memory.
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
    /// After an error nothing more is transferred.
    outcome: Result,
    /// `direct` is cleared once direct I/O does not work.
    options: RwOptions,
    /// The position in the file from which on direct I/O was replaced by buffered I/O.
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

    /// Replaces direct I/O by buffered I/O from the current position on. Cached pages of the
    /// range may be older than data that were written past them, so they are dropped first.
    fn fall_back(&mut self) {
        if self.options.direct {
            self.options.direct = false;
            self.fell_back = Some(self.pos);
            let left = self.bytes.saturating_sub(self.done);
            self.file.drop_cached(self.pos, left.into());
        }
    }

    /// Repeats `step` until nothing is left. `step` transfers the rest of `iter` at a position
    /// in the file, with options.
    fn advance<'a, D: Direction>(
        &mut self,
        iter: &mut BvecIter<'a, D>,
        step: impl Fn(&mut BvecIter<'a, D>, u64, RwOptions) -> Result<usize>,
    ) {
        while iter.len() != 0 && self.outcome.is_ok() {
            let (before, left) = (iter.save(), iter.len());
            match step(iter, self.pos, self.options) {
                Ok(0) if self.options.direct => self.fall_back(),
                // The file ends, or takes nothing without an error.
                Ok(0) => self.outcome = Err(EIO),
                Ok(n) => {
                    self.pos += n as u64;
                    self.done += n as u32;
                    self.retries.succeeded();
                    if iter.len() != left.saturating_sub(n) {
                        // The file truncated the iterator (for example to `s_maxbytes`) and
                        // did not restore it. With the rest back, the next step reports why.
                        iter.restore(&before);
                        iter.advance(n);
                    }
                    if iter.len() != 0 {
                        // The rest need not be aligned.
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

    /// Drops cached pages of a range for which buffered I/O replaced direct I/O. Later commands
    /// use direct I/O again: the shorter the time for which the range and its neighbours are
    /// cached, the better. Sleeps.
    fn drop_fallen_back(&self) {
        if let Some(start) = self.fell_back {
            self.file.drop_cached(start, self.pos - start);
        }
    }

    /// Completes the whole sectors that were transferred before an error, and
    /// returns the status of the rest. Sleeps.
    fn finish(self, rq: &mut RequestMut<'_>) -> BlkStatus {
        self.drop_fallen_back();
        match self.outcome {
            Ok(()) => BlkStatus::OK,
            Err(err) => {
                rq.update(self.done - self.done % SECTOR_SIZE);
                err.into()
            }
        }
    }
}
