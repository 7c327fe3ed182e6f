// SPDX-License-Identifier: GPL-2.0

//! Reading and writing, through the page cache of the backing file.
//!
//! A file may transfer less than it is asked to. Then it is asked for the rest,
//! until all is done, an error comes, or the file ends.

use crate::{
    abstractions::block::{
        mq::{
            BlkStatus,
            Request,
            SECTOR_SIZE, //
        },
        segments::BvecIter,
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::prelude::*;

/// Reads what the request asks for.
///
/// Where the file ends early (somebody has truncated it), what is missing reads
/// as zeroes and fails with an I/O error; what was there succeeds.
pub(super) fn read(rq: &mut Request<LoopDevice>, backing: &Backing) -> BlkStatus {
    let ioprio = rq.ioprio();
    let mut progress = Progress::new(backing.file_pos(rq.pos()));
    let mut segments = rq.segments();
    while let Some(mut chunk) = segments.next_chunk() {
        let mut iter = chunk.dest();
        progress.advance(&mut iter, |iter, pos| {
            backing.file().read(pos, iter, ioprio)
        });
        iter.zero_rest();
    }
    progress.finish(rq)
}

/// Writes what the request asks for.
pub(super) fn write(rq: &mut Request<LoopDevice>, backing: &Backing) -> BlkStatus {
    let ioprio = rq.ioprio();
    let mut progress = Progress::new(backing.file_pos(rq.pos()));
    let mut segments = rq.segments();
    while let Some(mut chunk) = segments.next_chunk() {
        let mut iter = chunk.source();
        progress.advance(&mut iter, |iter, pos| {
            backing.file().write(pos, iter, ioprio)
        });
    }
    progress.finish(rq)
}

/// How far a transfer has come.
struct Progress {
    /// Where in the file it goes on, in bytes.
    pos: u64,
    /// How much has been transferred, in bytes.
    done: u32,
    /// Once there is an error nothing more is transferred.
    outcome: Result,
}

impl Progress {
    fn new(pos: u64) -> Self {
        Self {
            pos,
            done: 0,
            outcome: Ok(()),
        }
    }

    /// Repeats `step`, which is given what is left and where in the file that is,
    /// until nothing is left.
    fn advance<'a>(
        &mut self,
        iter: &mut BvecIter<'a>,
        step: impl Fn(&mut BvecIter<'a>, u64) -> Result<usize>,
    ) {
        while iter.len() != 0 && self.outcome.is_ok() {
            match step(iter, self.pos) {
                // The file ends, or takes nothing, yet does not say why.
                Ok(0) => self.outcome = Err(EIO),
                Ok(n) => {
                    self.pos += n as u64;
                    self.done += n as u32;
                }
                Err(err) => self.outcome = Err(err),
            }
        }
    }

    /// Completes the whole sectors that were transferred before an error, and
    /// returns the status of the rest.
    fn finish(self, rq: &mut Request<LoopDevice>) -> BlkStatus {
        match self.outcome {
            Ok(()) => BlkStatus::OK,
            Err(err) => {
                rq.complete_partially(self.done - self.done % SECTOR_SIZE);
                err.into()
            }
        }
    }
}
