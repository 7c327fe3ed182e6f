// SPDX-License-Identifier: GPL-2.0

//! A loop block driver: makes a file or block device usable as a disk.
//!
//! The path of a request, from the block layer and back:
//!
//! 1. `loop_worker.rs`: `queue_rq` hands each request to [`loop_worker::Workers::queue`], which
//!    makes it a [`loop_cmd::LoopCmd`], queues it to the worker of the cgroup that submitted
//!    it, and schedules the worker.
//! 2. `loop_worker/placement.rs` selects the workqueue on which the worker runs.
//! 3. `loop_worker/worker.rs`: the worker dequeues its commands in batches.
//! 4. `loop_cmd.rs`: a command is issued without waiting or executed.
//! 5. `loop_cmd/rw.rs` reads and writes in the worker's task, `loop_cmd/aio.rs` submits direct
//!    I/O, which the backing file completes.
//! 6. `loop_cmd.rs` again: the command accounts for itself, and its request ends.
//!
//! Each room uses only those below it: [`loop_device`] (the disk and its user interface),
//! [`loop_worker`], [`loop_cmd`], [`backing_file`], [`abstractions`].
//!
//! Everything unsafe is in [`abstractions`]. The user-space interface is that of the C driver, [`drivers/block/loop.c`](srctree/drivers/block/loop.c), with
//! `/dev/rloopN` for `/dev/loopN` unless the module stands in for that.

#![deny(unsafe_code)]
// A kernel module exports nothing: its documentation is for readers of the source.
#![allow(rustdoc::private_intra_doc_links)]

mod abstractions;
mod backing_file;
mod loop_cmd;
mod loop_device;
mod loop_worker;

use crate::{
    abstractions::{
        block::major::BlockMajor,
        miscdevice::MiscRegistration,
        module_param::{
            bool_param,
            int_param, //
        }, //
    },
    loop_device::{
        control::{
            max_devices,
            Control,
            Names, //
        },
        Partitions, //
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

int_param! {
    /// For how many partitions each device has minor numbers of its own.
    pub(crate) static max_part = 0, min i32::MIN, mode 0o444,
        "Maximum number of partitions per loop device";
}

bool_param! {
    /// Whether to stand in for the C driver.
    pub(crate) static drop_in = false, mode 0o444,
        "Take the names and numbers of the C loop driver: /dev/loopN. Default: no";
}

/// The loaded module: everything hangs on the control device.
struct RustLoop {
    // Devices are made on demand no longer, then none by the control device.
    major: BlockMajor<Control>,
    control: Pin<KBox<MiscRegistration<Control>>>,
}

impl RustLoop {
    /// Registers the driver, without devices. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another driver has the names.
    fn register(names: Names, partitions: Partitions) -> Result<Self> {
        let major = BlockMajor::register(names.major, names.device)?;
        // As in the C driver: a limit only if somebody has set one.
        let probe_limit = match max_loop.get().unsigned_abs() {
            0 => None,
            limit => max_loop.is_set().then_some(limit),
        };
        let control = Control::new(names, major.number(), partitions, probe_limit)?;
        let control = KBox::pin_init(
            MiscRegistration::new(names.control, names.control_minor, control),
            GFP_KERNEL,
        )?;
        Ok(Self { major, control })
    }
}

impl kernel::Module for RustLoop {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let partitions = Partitions::new(max_part.get().max(0).unsigned_abs())?;
        if partitions.max() > 0 {
            // So that one sees what minor numbers devices have.
            max_part.set(partitions.max().try_into()?);
        }
        let devices = u32::try_from(max_loop.get())?;
        if devices > max_devices(partitions) {
            return Err(EINVAL);
        }
        let names = match drop_in.get() {
            true => Names::DROP_IN,
            false => Names::OWN,
        };
        let this = Self::register(names, partitions).inspect_err(|err| {
            if drop_in.get() && *err == EBUSY {
                pr_err!(
                    "drop_in: another driver has the names of loop devices (is loop.ko loaded?)\n"
                );
            }
        })?;
        // From here on somebody may open what there is, and whoever does so
        // holds a module that is about to be loaded: so nothing may fail.
        this.major.enable_probe(this.control.data());
        this.control.data().add_first(devices);
        pr_info!("module loaded\n");
        Ok(this)
    }
}
