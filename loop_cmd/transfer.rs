// SPDX-License-Identifier: GPL-2.0

//! Reading and writing, through the page cache of the backing file.
//!
//! A file may transfer less than it is asked to. Then it is asked for the rest,
//! until all is done, an error comes, or the file ends.

use crate::{
    abstractions::block::mq::{
        BlkStatus,
        Request,
        SECTOR_SIZE, //
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
    let mut pos = backing.file_pos(rq.pos());
    let mut done = 0;
    let mut outcome = Ok(());
    let mut segments = rq.segments();
    while let Some(mut chunk) = segments.next_chunk() {
        let mut iter = chunk.dest();
        while iter.len() != 0 && outcome.is_ok() {
            match backing.file().read(pos, &mut iter, ioprio) {
                Ok(0) => outcome = Err(EIO),
                Ok(n) => {
                    pos += n as u64;
                    done += n as u32;
                }
                Err(err) => outcome = Err(err),
            }
        }
        iter.zero_rest();
    }
    finish(rq, done, outcome)
}

/// Writes what the request asks for.
pub(super) fn write(rq: &mut Request<LoopDevice>, backing: &Backing) -> BlkStatus {
    let ioprio = rq.ioprio();
    let mut pos = backing.file_pos(rq.pos());
    let mut done = 0;
    let mut outcome = Ok(());
    let mut segments = rq.segments();
    while let Some(mut chunk) = segments.next_chunk() {
        let mut iter = chunk.source();
        while iter.len() != 0 && outcome.is_ok() {
            match backing.file().write(pos, &mut iter, ioprio) {
                // A file that takes nothing, yet does not say why.
                Ok(0) => outcome = Err(EIO),
                Ok(n) => {
                    pos += n as u64;
                    done += n as u32;
                }
                Err(err) => outcome = Err(err),
            }
        }
        if outcome.is_err() {
            break;
        }
    }
    finish(rq, done, outcome)
}

/// Completes the whole sectors that were transferred before an error, and
/// returns the status of the rest.
fn finish(rq: &mut Request<LoopDevice>, done: u32, outcome: Result) -> BlkStatus {
    match outcome {
        Ok(()) => BlkStatus::OK,
        Err(err) => {
            rq.complete_partially(done - done % SECTOR_SIZE);
            err.into()
        }
    }
}
