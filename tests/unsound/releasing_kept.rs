// SPDX-License-Identifier: GPL-2.0
//! Only the task that closes a disk, with `open_mutex` held, rescans its partitions.

use crate::{
    abstractions::block::{
        gen_disk::{
            GenDisk,
            Releasing, //
        }, //
    },
    loop_device::LoopDevice,
};
use kernel::types::NotThreadSafe;

fn forged(disk: &GenDisk<LoopDevice>) {
    let releasing = Releasing(disk, NotThreadSafe); //~ E0423
    let _ = releasing.rescan_partitions();
}

fn in_thread<T: Send>(_: T) {}

fn moved(releasing: Releasing<'static, LoopDevice>) {
    in_thread(releasing); //~ E0277
}
