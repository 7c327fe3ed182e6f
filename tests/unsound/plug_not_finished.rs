// SPDX-License-Identifier: GPL-2.0
//! A plug is finished before the function that started it returns.

use crate::abstractions::block::plug::with_plug;

fn forgotten() {
    with_plug(1, || (), |plug| core::mem::forget(plug)); //~ E0308
}
