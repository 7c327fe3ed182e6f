// SPDX-License-Identifier: GPL-2.0

//! Block devices: drivers of them, and users.

pub(crate) mod bdev;
pub(crate) mod bdev_file;
pub(crate) mod bdev_ops;
pub(crate) mod bvecs;
pub(crate) mod file_io;
pub(crate) mod gen_disk;
pub(crate) mod major;
pub(crate) mod mq;
pub(crate) mod plug;
pub(crate) mod queue_limits;
