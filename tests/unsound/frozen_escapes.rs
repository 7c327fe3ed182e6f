// SPDX-License-Identifier: GPL-2.0
//! A queue is used as frozen only while it is.

use crate::{
    abstractions::block::{
        gen_disk::{
            Frozen, //
            GenDisk,
        }, //
    },
    loop_device::LoopDevice,
};

fn escapes(disk: &GenDisk<LoopDevice>) {
    let frozen = disk.while_frozen(|frozen| frozen); //~ lifetime
    frozen.invalidate();
}

fn no_guard<'a>(disk: &'a GenDisk<LoopDevice>) -> Frozen<'a, LoopDevice> {
    disk.freeze() //~ E0599
}
