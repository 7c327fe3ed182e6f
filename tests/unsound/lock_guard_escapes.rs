// SPDX-License-Identifier: GPL-2.0
//! Data under a spinlock that disables interrupts is used under the lock only, and such locks
//! are released in the reverse order of that in which they were taken.

use crate::abstractions::sync::SpinLockIrq;

fn no_guard(lock: &SpinLockIrq<u32>) {
    let _ = lock.lock(); //~ E0599
}

fn escapes(lock: &SpinLockIrq<u32>) {
    let n: &mut u32 = lock.with(|n| n); //~ lifetime
    *n = 1;
}
