// SPDX-License-Identifier: GPL-2.0
//! Charging ends in the reverse order of that in which it began: there is no guard.

use crate::abstractions::cgroup::IoCgroup;

fn misuse(a: IoCgroup, b: IoCgroup) {
    let a = a.enter(); //~ E0599
    let b = b.enter(); //~ E0599
    drop(a);
    drop(b);
}
