// SPDX-License-Identifier: GPL-2.0
//! A file is taken from a file descriptor only by the task that executes an ioctl.

use crate::{
    abstractions::{
        block::bdev_ops::IoctlCaller,
        fs::UncheckedFile, //
    },
    loop_device::LoopDevice,
};
use kernel::prelude::*;

fn misuse() -> Result<UncheckedFile> {
    UncheckedFile::fget(0) //~ E0624
}

fn in_thread<T: Send>(_: T) {}

fn moved(caller: IoctlCaller<'static, LoopDevice>) {
    in_thread(caller); //~ E0277
}
