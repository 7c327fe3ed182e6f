// SPDX-License-Identifier: GPL-2.0

//! Discard and write-zeroes: changes to the allocation of the backing file.
//!
//! Whether a file supports an operation shows only when it is tried. If the file does not, the
//! block layer is told not to send the operation again before the request fails: so it knows to
//! write zeroes instead. If the file refuses one range only, as block devices refuse a range
//! that is not aligned to their blocks, the command writes zeroes where the file is not changed
//! otherwise.

use super::{
    cmd::{
        rw_options,
        LoopCmd, //
    },
    rw, //
};
use crate::abstractions::{
    block::mq::{
        BlkStatus,
        Op,
        RequestMut,
        RequestRef, //
    },
    compat::errno::EOPNOTSUPP,
    fs::FallocateMode, //
};
use kernel::prelude::*;

/// Returns the modes that implement an operation, the best first. `may_discard` says whether
/// the device takes discards now.
///
/// A hole reads as zeroes, but is not allocated. The submitter of a write-zeroes without
/// `unmap` does not want that, nor does an administrator who has turned off discard to keep a
/// preallocated file allocated.
fn fallocate_modes(op: Op, may_discard: bool) -> &'static [FallocateMode] {
    match op {
        Op::Discard => &[FallocateMode::PunchHole],
        Op::WriteZeroes { unmap: true } if may_discard => {
            &[FallocateMode::PunchHole, FallocateMode::ZeroRange]
        }
        Op::WriteZeroes { .. } => &[FallocateMode::ZeroRange],
        _ => &[],
    }
}

/// Returns whether a file that fails with `err` has refused this range at this moment, rather
/// than such a change as a whole: it is not aligned to its blocks, or is in use otherwise (a
/// block device with a filesystem mounted, if some of the range is dirty in its page cache).
fn is_refusal(err: Error) -> bool {
    err == EINVAL || err == EBUSY
}

/// A range of the file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    pos: u64,
    len: u32,
}

impl Range {
    /// Returns what is before the first multiple of `align`, which is a power of two, what is
    /// between that and the last one, and what is behind. The first one is all of it if there
    /// is nothing in between.
    fn split(self, align: u32) -> [Self; 3] {
        let Self { pos, len } = self;
        let mask = u64::from(align).saturating_sub(1);
        // Both are less than `align`.
        let head = (pos.wrapping_neg() & mask) as u32;
        let tail = (pos.wrapping_add(len.into()) & mask) as u32;
        let middle = len
            .checked_sub(head)
            .and_then(|rest| rest.checked_sub(tail))
            .filter(|&middle| middle != 0);
        let (head, middle, tail) = match middle {
            Some(middle) => (head, middle, tail),
            None => (len, 0, 0),
        };
        [(0, head), (head, middle), (head + middle, tail)].map(|(from, len)| Self {
            pos: pos.saturating_add(from.into()),
            len,
        })
    }
}

/// Does a discard or write-zeroes. Sleeps.
pub(super) fn do_fallocate(cmd: &LoopCmd, rq: &mut RequestMut<'_>) -> BlkStatus {
    let op = cmd.info.op;
    let range = Range {
        pos: cmd.file_pos(rq),
        len: rq.bytes(),
    };
    let mut is_refused = false;
    for &mode in fallocate_modes(op, rq.may_discard()) {
        match zero(cmd, rq, mode, range) {
            Ok(()) => return BlkStatus::OK,
            Err(err) if err == EOPNOTSUPP => (),
            Err(err) if is_refusal(err) => is_refused = true,
            Err(err) => return err.into(),
        }
    }
    match op {
        // The block layer asks again, for another range or at another time.
        Op::WriteZeroes { .. } if is_refused => {
            return match write(cmd, rq, range) {
                Ok(()) => BlkStatus::OK,
                Err(err) => err.into(),
            }
        }
        Op::Discard if is_refused => (),
        Op::Discard => rq.disable_discard(),
        _ => rq.disable_write_zeroes(),
    }
    rq.set_quiet();
    BlkStatus::NOTSUPP
}

/// Zeroes a range of the file: the part that is aligned as the file wants it by `mode`, the
/// edges by writing.
fn zero(cmd: &LoopCmd, rq: &RequestRef, mode: FallocateMode, range: Range) -> Result {
    let (mut result, mut last) = (Err(EINVAL), None);
    for align in cmd.file().fallocate_alignments() {
        let [head, middle, tail] = range.split(align);
        if last == Some(middle) {
            break;
        }
        last = Some(middle);
        result = match middle.len {
            0 => Ok(()),
            _ => allocate(cmd, mode, middle),
        };
        match result {
            Ok(()) => {
                write(cmd, rq, head)?;
                return write(cmd, rq, tail);
            }
            Err(err) if is_refusal(err) => (),
            Err(_) => break,
        }
    }
    result
}

/// Changes the allocation of a range.
fn allocate(cmd: &LoopCmd, mode: FallocateMode, range: Range) -> Result {
    let mut retries = cmd.retries();
    loop {
        match cmd.file().fallocate(mode, range.pos, range.len.into()) {
            Ok(()) => {
                retries.succeeded();
                return Ok(());
            }
            Err(err) if retries.again(err) => (),
            Err(err) => return Err(err),
        }
    }
}

/// Writes zeroes to a range: by direct I/O in direct mode, as far as the file takes that, else
/// through the page cache, where no alignment matters.
fn write(cmd: &LoopCmd, rq: &RequestRef, range: Range) -> Result {
    match range.len {
        0 => Ok(()),
        len => {
            let options = rw_options(rq, cmd.backing.is_direct());
            rw::write_zeroes(cmd, range.pos, len, options)
        }
    }
}

#[kunit_tests(rust_loop_fallocate)]
mod tests {
    use super::*;

    #[test]
    fn modes_for_operations() {
        const HOLE: &[FallocateMode] = &[FallocateMode::PunchHole];
        const ZERO: &[FallocateMode] = &[FallocateMode::ZeroRange];
        const BOTH: &[FallocateMode] = &[FallocateMode::PunchHole, FallocateMode::ZeroRange];
        // (operation, with discard, without)
        let table = [
            (Op::Discard, HOLE, HOLE),
            (Op::WriteZeroes { unmap: true }, BOTH, ZERO),
            (Op::WriteZeroes { unmap: false }, ZERO, ZERO),
            (Op::Read, &[], &[]),
            (Op::Flush, &[], &[]),
        ];
        for (op, with, without) in table {
            assert!(fallocate_modes(op, true) == with);
            assert!(fallocate_modes(op, false) == without);
        }
    }

    #[test]
    fn ranges_are_split() {
        const END: u64 = i64::MAX as u64;
        // (position, length, alignment, lengths before, between and behind)
        let table = [
            (0, 4096, 1, [0, 4096, 0]),
            (7, 13, 1, [0, 13, 0]),
            (0, 4096, 4096, [0, 4096, 0]),
            (0, 4095, 4096, [4095, 0, 0]),
            (512, 1024, 4096, [1024, 0, 0]),
            (512, 3584, 4096, [3584, 0, 0]),
            (512, 4096, 4096, [4096, 0, 0]),
            (512, 7680, 4096, [3584, 4096, 0]),
            (512, 8192, 4096, [3584, 4096, 512]),
            (4096, 4608, 4096, [0, 4096, 512]),
            (END - 511, 512, 512, [0, 512, 0]),
            (512, u32::MAX, 512, [0, u32::MAX - 511, 511]),
            (0, 512, 0, [0, 512, 0]),
        ];
        for (pos, len, align, expected) in table {
            let parts = Range { pos, len }.split(align);
            let mut end = pos;
            for (part, expected) in parts.into_iter().zip(expected) {
                assert_eq!(part.pos, end);
                assert_eq!(part.len, expected);
                end += u64::from(part.len);
            }
            assert_eq!(end, pos + u64::from(len));
        }
    }
}
