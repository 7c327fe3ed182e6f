// SPDX-License-Identifier: GPL-2.0
//! Devices of other drivers are neither opened by number nor asked.

use crate::abstractions::block::bdev_file::DeviceFile;
use kernel::prelude::*;

fn misuse(device: &DeviceFile) -> Result<u64> {
    let _ = DeviceFile::open(0); //~ E0599
    device.loop_backing_device() //~ E0599
}
