// SPDX-License-Identifier: GPL-2.0

//! Safe Rust over the kernel interfaces that a loop driver needs and the
//! `kernel` crate of today does not have.
//!
//! This is the only part of the crate with `unsafe` in it. Each file wraps one
//! subsystem and is named as it would be upstream; nothing in here knows what a
//! loop device is, but for the structures of user space ([`uapi`]).

#![expect(unsafe_code)]

pub(crate) mod block;
pub(crate) mod cgroup;
pub(crate) mod compat;
pub(crate) mod debugfs;
pub(crate) mod fs;
pub(crate) mod mempool;
pub(crate) mod miscdevice;
pub(crate) mod module;
pub(crate) mod module_param;
pub(crate) mod sync;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod uapi;
pub(crate) mod workqueue;

mod bindings;
