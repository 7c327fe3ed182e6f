// SPDX-License-Identifier: GPL-2.0

//! Reading and writing, and waiting for that.
//!
//! A file may transfer less than it is asked to. Then it is asked for the rest,
//! until all is done, an error comes, or the file ends. What it does not do past the
//! page cache it is asked to do through it.

use super::{
    retry::Retries,
    running, //
};
use crate::{
    abstractions::{
        block::{
            mq::{
                BlkStatus,
                Request,
                SECTOR_SIZE, //
            },
            segments::{
                BvecIter,
                Direction,
                PartSpace,
                Zeroes, //
            },
        },
        errno::eopnotsupp,
        fs::{
            kiocb::Access,
            BackingFile, //
        },
        task,
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::prelude::*;

/// Reads or writes what the request asks for. Sleeps.
///
/// Where the file ends early (somebody has truncated it), what is missing reads
/// as zeroes and fails with an I/O error; what was there succeeds.
pub(super) fn run(
    rq: &mut Request<LoopDevice>,
    backing: &Backing,
    access: Access,
    retries: Retries<'_>,
) -> BlkStatus {
    let file = backing.file();
    let stats = retries.stats();
    let range = (backing.file_pos(rq.pos()), rq.bytes());
    let mut progress = Progress::new(file, range, access, retries);
    let mut space = PartSpace::new();
    if let Some(mut segments) = rq.source() {
        if !access.direct {
            progress.retries.prepare_write();
        }
        while let Some(mut iter) = segments.next_part(&mut space) {
            progress.advance(&mut iter, |iter, pos, access| {
                let reserve = access.direct && running::prepare_reserve(rq, backing, stats);
                task::with_memory_reserve_if(reserve, || file.write(pos, iter.as_source(), access))
            });
        }
    } else if let Some(mut segments) = rq.dest() {
        while let Some(mut iter) = segments.next_part(&mut space) {
            progress.advance(&mut iter, |iter, pos, access| {
                file.read(pos, iter.as_dest(), access)
            });
            iter.zero_rest();
        }
    }
    progress.finish(rq)
}

/// Reads what the request asks for if the file has all of it in memory, and returns
/// whether it has. The file begins to read the first of what it has not. Sleeps, but not
/// for that. The file must be one that [can do that](Access::nowait).
pub(super) fn read_cached(rq: &Request<LoopDevice>, backing: &Backing, access: Access) -> bool {
    let access = Access {
        nowait: true,
        ..access
    };
    let mut pos = backing.file_pos(rq.pos());
    let mut space = PartSpace::new();
    let Some(mut segments) = rq.dest() else {
        return false;
    };
    while let Some(mut iter) = segments.next_part(&mut space) {
        let len = iter.len();
        match backing.file().read(pos, iter.as_dest(), access) {
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
pub(super) fn write_zeroes(
    backing: &Backing,
    pos: u64,
    len: u32,
    access: Access,
    retries: Retries<'_>,
) -> Result {
    let (file, zeroes) = (backing.file(), Zeroes::new());
    let mut progress = Progress::new(file, (pos, len), access, retries);
    while progress.done < len && progress.outcome.is_ok() {
        let mut iter = zeroes.part((len - progress.done) as usize);
        progress.advance(&mut iter, |iter, pos, access| {
            file.write(pos, iter.as_source(), access)
        });
    }
    progress.drop_fallen_back();
    progress.outcome
}

/// Returns whether what failed past the page cache with `err` may succeed through it,
/// or later: the file refuses what is not aligned as it likes, or there is no memory.
pub(super) fn may_succeed_otherwise(err: Error) -> bool {
    err == EINVAL || err == EAGAIN || err == ENOMEM || err == eopnotsupp()
}

/// How far a transfer has come.
struct Progress<'a> {
    file: &'a BackingFile,
    /// Where in the file it goes on, in bytes.
    pos: u64,
    /// How much is to be transferred, in bytes.
    bytes: u32,
    /// How much has been transferred, in bytes.
    done: u32,
    /// Once there is an error nothing more is transferred.
    outcome: Result,
    /// Goes through the page cache once it does not go past it.
    access: Access,
    /// From where on it goes through the page cache although it was to go past it.
    fell_back: Option<u64>,
    retries: Retries<'a>,
}

impl<'r> Progress<'r> {
    fn new(
        file: &'r BackingFile,
        (pos, bytes): (u64, u32),
        access: Access,
        retries: Retries<'r>,
    ) -> Self {
        Self {
            file,
            pos,
            bytes,
            done: 0,
            outcome: Ok(()),
            access,
            fell_back: None,
            retries,
        }
    }

    /// Goes on through the page cache if it does not yet. What is there of the pages may be
    /// older than what has been written past it, so that is dropped first.
    fn fall_back(&mut self) {
        if self.access.direct {
            self.access.direct = false;
            self.fell_back = Some(self.pos);
            let left = self.bytes.saturating_sub(self.done);
            self.file.drop_cached(self.pos, left.into());
        }
    }

    /// Repeats `step`, which is given what is left, where in the file that is, and how
    /// to access it, until nothing is left.
    fn advance<'a, D: Direction>(
        &mut self,
        iter: &mut BvecIter<'a, D>,
        step: impl Fn(&mut BvecIter<'a, D>, u64, Access) -> Result<usize>,
    ) {
        while iter.len() != 0 && self.outcome.is_ok() {
            let (before, left) = (iter.save(), iter.len());
            match step(iter, self.pos, self.access) {
                Ok(0) if self.access.direct => self.fall_back(),
                // The file ends, or takes nothing, yet does not say why.
                Ok(0) => self.outcome = Err(EIO),
                Ok(n) => {
                    self.pos += n as u64;
                    self.done += n as u32;
                    self.retries.succeeded();
                    if iter.len() != left.saturating_sub(n) {
                        // Of what is too much the file takes only some, and forgets the
                        // rest; the next step says why.
                        iter.restore(&before);
                        iter.advance(n);
                    }
                    if iter.len() != 0 {
                        // What is left need not be aligned.
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
                    let is_otherwise = self.access.direct && may_succeed_otherwise(err);
                    match is_otherwise && !self.retries.is_final(err) {
                        true => self.fall_back(),
                        false => self.outcome = Err(err),
                    }
                }
            }
        }
    }

    /// Drops the page cache of what went through it although it was to go past it. Later
    /// commands go past it again: the shorter the time for which neighbours of the range are
    /// in it, the better. Sleeps.
    fn drop_fallen_back(&self) {
        if let Some(start) = self.fell_back {
            self.file.drop_cached(start, self.pos - start);
        }
    }

    /// Completes the whole sectors that were transferred before an error, and
    /// returns the status of the rest. Sleeps.
    fn finish(self, rq: &mut Request<LoopDevice>) -> BlkStatus {
        self.drop_fallen_back();
        match self.outcome {
            Ok(()) => BlkStatus::OK,
            Err(err) => {
                rq.complete_partially(self.done - self.done % SECTOR_SIZE);
                err.into()
            }
        }
    }
}
