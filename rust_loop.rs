// SPDX-License-Identifier: GPL-2.0

//! A loop block driver: makes a file or block device usable as a disk.
//!
//! The path of a request from the block layer and back:
//!
//! 1. `loop_worker.rs`: `queue_rq` passes each request to the workers of its hardware queue. This
//!    stores a [`loop_cmd::LoopCmd`] behind the request, queues it to the worker of the
//!    submitting cgroup, and schedules the worker.
//! 2. `loop_worker/placement.rs` selects the workqueue on which the worker runs.
//! 3. `loop_worker/worker.rs`: the worker dequeues its commands in batches.
//! 4. `loop_cmd.rs`: the worker issues each command without waiting, or executes it.
//! 5. `loop_cmd/rw.rs` reads and writes in the worker's task. `loop_cmd/aio.rs` submits direct
//!    I/O, which the backing file completes.
//! 6. `loop_cmd/cmd.rs` accounts for the command and completes its request.
//!
//! Each module uses only those after it in this list: [`loop_device`] (the disk and its user
//! interface), [`loop_worker`], [`loop_cmd`], [`backing_file`], [`abstractions`].
//!
//! Only [`abstractions`] contains unsafe code. The user-space interface is that of the C driver,
//! [`drivers/block/loop.c`](srctree/drivers/block/loop.c). Devices are named `/dev/rloopN`
//! unless the module replaces the C driver (`drop_in`).

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
        block::{
            major::BlockMajor,
            mq, //
        },
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
    /// The number of devices that loading the module creates.
    pub(crate) static max_loop = 8, min 0, mode 0o444,
        "Initial number of loop devices";
}

int_param! {
    /// The maximum number of requests in flight on a device.
    pub(crate) static hw_queue_depth = 128, min 1, mode 0o444,
        "Queue depth for each hardware queue. Default: 128";
}

int_param! {
    /// The number of hardware queues of each device. 0 means the default, and becomes the number
    /// when the module is loaded.
    pub(crate) static nr_hw_queues = 0, min 0, mode 0o444,
        "Number of hardware queues of each device. Default: number of CPUs, at most 8";
}

int_param! {
    /// The time after which an idle worker is freed, in seconds.
    pub(crate) static idle_timeout_secs = 60, min 0, mode 0o644,
        "Seconds after which an idle worker is freed. Default: 60";
}

int_param! {
    /// The number of partitions for which each device reserves minor numbers.
    pub(crate) static max_part = 0, min i32::MIN, mode 0o444,
        "Maximum number of partitions per loop device";
}

bool_param! {
    /// Whether to replace the C driver.
    pub(crate) static drop_in = false, mode 0o444,
        "Take the names and numbers of the C loop driver: /dev/loopN. Default: no";
}

/// The largest default of `nr_hw_queues`. Each hardware queue takes memory, and more of them have
/// not been measured.
const MAX_DEFAULT_HW_QUEUES: u32 = 8;

/// The loaded module. The control device owns all loop devices.
struct RustLoop {
    // Dropped in this order: stop creating devices on demand, then remove the control device and
    // with it all devices.
    major: BlockMajor<Control>,
    control: Pin<KBox<MiscRegistration<Control>>>,
}

impl RustLoop {
    /// Registers the driver, without devices. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another driver has registered the names.
    fn register(names: Names, partitions: Partitions, queues: u32) -> Result<Self> {
        let major = BlockMajor::register(names.major, names.device)?;
        // As in the C driver, `max_loop` is a limit only if the user has set it.
        let probe_limit = match max_loop.get().unsigned_abs() {
            0 => None,
            limit => max_loop.is_set().then_some(limit),
        };
        let control = Control::new(names, major.number(), partitions, queues, probe_limit)?;
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
            // User space can read the number of reserved minor numbers.
            max_part.set(partitions.max().try_into()?);
        }
        let devices = u32::try_from(max_loop.get())?;
        if devices > max_devices(partitions) {
            return Err(EINVAL);
        }
        let queues = match nr_hw_queues.get().unsigned_abs() {
            0 => mq::num_online_queues(MAX_DEFAULT_HW_QUEUES),
            queues => mq::num_possible_queues(queues),
        };
        // User space can read the number of hardware queues.
        nr_hw_queues.set(queues.try_into()?);
        let names = if drop_in.get() {
            Names::DROP_IN
        } else {
            Names::OWN
        };
        let this = Self::register(names, partitions, queues).inspect_err(|err| {
            if drop_in.get() && *err == EBUSY {
                pr_err!(
                    "drop_in: another driver has the names of loop devices (is loop.ko loaded?)\n"
                );
            }
        })?;
        // Nothing may fail from here on. User space may open devices, and an opener holds a
        // reference to the module.
        this.major.enable_probe(this.control.data());
        this.control.data().add_first(devices);
        pr_info!("module loaded\n");
        Ok(this)
    }
}
