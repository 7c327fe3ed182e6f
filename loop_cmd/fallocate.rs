// SPDX-License-Identifier: GPL-2.0

//! Discard and write-zeroes: changes to the allocation of the backing file.
//!
//! A file reports only on an attempt whether it supports an operation. If it does not, the
//! command first disables the operation in the block layer and then fails, so that the block
//! layer writes zeroes instead.
//!
//! A file may refuse one range only: block devices refuse a range that is not aligned to their
//! blocks. Then the command deallocates or zeroes the aligned part by `fallocate()`, and writes
//! zeroes to the rest.

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

/// Returns the modes that implement an operation, the preferred mode first. `may_discard` says
/// whether discard is enabled on the device.
///
/// Write-zeroes punches holes only with `unmap` and if discard is enabled, because a hole is not
/// allocated. An administrator turns off discard to keep a preallocated file allocated.
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

/// Returns whether `err` means that the file has refused only this range at this moment, and not
/// the operation as a whole. Reasons are the alignment of the range, and dirty pages of the range
/// in the page cache of a block device with a mounted filesystem.
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
    /// Splits the range into head, middle and tail. The middle begins and ends at multiples of
    /// `align`, a power of two. If the middle is empty, the head is the whole range.
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

/// Executes a discard or write-zeroes. Sleeps.
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
        // The operation stays enabled, as it may succeed for another range or later.
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

/// Zeroes a range of the file. Uses `mode` for the part that has the alignment of the file, and
/// writes zeroes to the rest.
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

/// Changes the allocation of a range. Repeats attempts that fail for lack of memory.
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

/// Writes zeroes to a range. Uses direct I/O in direct mode, as far as the file accepts it, else
/// the page cache, which needs no alignment.
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
