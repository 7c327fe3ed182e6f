// SPDX-License-Identifier: GPL-2.0

//! Discard and write-zeroes: changes to the allocation of the backing file.
//!
//! Whether a file can do this shows only when it is asked to. If it cannot, the
//! block layer is told not to ask again before the request fails, for that is
//! how it knows to write zeroes instead.

use super::retry::Retries;
use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Op,
            Request, //
        },
        errno::eopnotsupp,
        fs::FallocateMode,
    },
    loop_device::{
        backing::Backing,
        LoopDevice, //
    },
};
use kernel::prelude::*;

/// Returns what can be done for an operation, the best first.
///
/// A hole reads as zeroes, but is not allocated, which is what the issuer of a
/// write-zeroes without `unmap` wants.
fn modes(op: Op) -> &'static [FallocateMode] {
    match op {
        Op::Discard => &[FallocateMode::PunchHole],
        Op::WriteZeroes { unmap: true } => &[FallocateMode::PunchHole, FallocateMode::ZeroRange],
        Op::WriteZeroes { unmap: false } => &[FallocateMode::ZeroRange],
        _ => &[],
    }
}

/// Does a discard or write-zeroes.
pub(super) fn change(
    rq: &mut Request<LoopDevice>,
    op: Op,
    backing: &Backing,
    mut retries: Retries<'_>,
) -> BlkStatus {
    let pos = backing.file_pos(rq.pos());
    for &mode in modes(op) {
        loop {
            match backing.file().fallocate(mode, pos, rq.bytes().into()) {
                Ok(()) => {
                    retries.succeeded();
                    return BlkStatus::OK;
                }
                Err(err) if err == eopnotsupp() => break,
                Err(err) if retries.again(err) => (),
                Err(_) => return BlkStatus::IOERR,
            }
        }
    }
    match op {
        Op::Discard => rq.disable_discard(),
        _ => rq.disable_write_zeroes(),
    }
    rq.set_quiet();
    BlkStatus::NOTSUPP
}

#[kunit_tests(rust_loop_allocation)]
mod tests {
    use super::*;

    #[test]
    fn modes_for_operations() {
        let table: [(Op, &[FallocateMode]); 5] = [
            (Op::Discard, &[FallocateMode::PunchHole]),
            (
                Op::WriteZeroes { unmap: true },
                &[FallocateMode::PunchHole, FallocateMode::ZeroRange],
            ),
            (
                Op::WriteZeroes { unmap: false },
                &[FallocateMode::ZeroRange],
            ),
            (Op::Read, &[]),
            (Op::Flush, &[]),
        ];
        for (op, expected) in table {
            assert!(modes(op) == expected);
        }
    }
}
