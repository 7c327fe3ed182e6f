// SPDX-License-Identifier: GPL-2.0
//! Flags of the current task are restored in the reverse order of that in which they were set.

use crate::abstractions::task;

fn misuse() {
    let io = task::BackingIoScope::enter(); //~ E0433
    let reserve = task::MemoryReserveScope::enter(); //~ E0433
    drop(io);
    drop(reserve);
}
