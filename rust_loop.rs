// SPDX-License-Identifier: GPL-2.0

//! A loop block driver: makes a file or block device usable as a disk.
//!
//! The path of a request, from the block layer and back:
//!
//! 1. [`loop_device::LoopDevice`] is the driver of a disk; its `queue_rq` hands
//!    each request to
//! 2. [`loop_worker::Workers`], which queues it to the worker of the cgroup that
//!    issued it and lets that run on a workqueue; the worker makes of it
//! 3. a [`loop_cmd::LoopCmd`], which reads or writes the backing file and ends
//!    the request.
//!
//! Everything unsafe is in [`abstractions`]. The user-space interface is that of
//! the C driver, [`drivers/block/loop.c`](srctree/drivers/block/loop.c), with
//! `/dev/rloopN` for `/dev/loopN`.

#![deny(unsafe_code)]
// A kernel module exports nothing: its documentation is for readers of the source.
#![allow(rustdoc::private_intra_doc_links)]

mod abstractions;
mod loop_cmd;
mod loop_device;
mod loop_worker;

use crate::{
    abstractions::{
        miscdevice::MiscRegistration,
        module_param::int_param, //
    },
    loop_device::control::{
        Control,
        MAX_NUMBER, //
    },
};
use kernel::prelude::*;

module! {
    type: RustLoop,
    name: "rust_loop",
    authors: ["The rust_loop developers"],
    description: "Loop block driver with a worker per cgroup",
    license: "GPL",
}

int_param! {
    /// How many devices are made when the module is loaded.
    pub(crate) static max_loop = 8, min 0, mode 0o444,
        "Initial number of loop devices";
}

int_param! {
    /// How many requests can be under way on a device.
    pub(crate) static hw_queue_depth = 128, min 1, mode 0o444,
        "Queue depth for each hardware queue. Default: 128";
}

int_param! {
    /// How long, in seconds, a worker stays without work.
    pub(crate) static idle_timeout_secs = 60, min 0, mode 0o644,
        "Seconds after which an idle worker is freed. Default: 60";
}

/// The loaded module: everything hangs on the control device.
struct RustLoop {
    _control: Pin<KBox<MiscRegistration<Control>>>,
}

impl kernel::Module for RustLoop {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let devices = u32::try_from(max_loop.get())?;
        if devices > MAX_NUMBER + 1 {
            return Err(EINVAL);
        }
        let control = KBox::pin_init(
            MiscRegistration::new(c"rloop-control", Control::new()),
            GFP_KERNEL,
        )?;
        // From here on somebody may open what there is, and whoever does so
        // holds a module that is about to be loaded: so nothing may fail.
        control.add_first(devices);
        pr_info!("module loaded\n");
        Ok(Self { _control: control })
    }
}
