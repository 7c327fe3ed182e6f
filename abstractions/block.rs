// SPDX-License-Identifier: GPL-2.0

//! The block layer, as a driver of it sees it.

pub(crate) mod bdev;
pub(crate) mod disk;
pub(crate) mod file_io;
pub(crate) mod limits;
pub(crate) mod major;
pub(crate) mod mq;
pub(crate) mod plug;
pub(crate) mod registration;
pub(crate) mod segments;
