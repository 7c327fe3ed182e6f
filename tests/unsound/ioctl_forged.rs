// SPDX-License-Identifier: GPL-2.0
//! Only the block layer says that the current task executes an ioctl.

use crate::{
    abstractions::block::{
        bdev::{
            BlkMode,
            BlockDevice, //
        },
        bdev_ops::IoctlCaller,
    },
    loop_device::LoopDevice,
};
use kernel::types::NotThreadSafe;

fn forged<'a>(bdev: &'a BlockDevice<LoopDevice>, mode: BlkMode) -> IoctlCaller<'a, LoopDevice> {
    IoctlCaller { bdev, mode, _not_send: NotThreadSafe } //~ E0451
}
