// SPDX-License-Identifier: GPL-2.0
//! Charging ends in the reverse order of that in which it began: there is no guard.

use crate::abstractions::cgroup::Charge;

fn misuse(a: Charge, b: Charge) {
    let a = a.enter(); //~ E0599
    let b = b.enter(); //~ E0599
    drop(a);
    drop(b);
}
