// SPDX-License-Identifier: GPL-2.0

//! `/dev/rloop-control`: which devices there are.
//!
//! The *control lock* ([`Control::devices`]) protects the table of devices. No
//! device is added, removed or locked under it: a number is reserved in the
//! table while its device comes or goes.

use super::{
    LoopDevice,
    Partitions,
    Shared, //
};
use crate::{
    abstractions::{
        block::{
            gen_disk::registration::{
                GenDiskOptions,
                GenDiskRegistration, //
            },
            major::{
                ProbeOperations,
                ProbeSlot, //
            },
            mq::{
                TagSetFlag,
                TagSetOptions, //
            },
        },
        compat::{
            errno::ENOSYS,
            this_module::this_module, //
        },
        miscdevice::{
            MiscOperations,
            MiscVTable, //
        },
        sync::LockKillable as _,
        uapi,
    },
    hw_queue_depth,
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    str::CString,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
};

/// How many minor numbers a major number has.
const MINORS: u32 = 1 << 20;

/// The most that one request transfers, in sectors: 1280 KiB, the C driver's.
const MAX_HW_SECTORS: u32 = 2560;

/// The driver as a whole.
#[pin_data]
pub(crate) struct Control {
    // Devices go before what they need.
    #[pin]
    devices: Mutex<RBTree<u32, Slot>>,
    shared: Arc<Shared>,
    names: Names,
    /// The major number of all devices.
    major: u32,
    /// Devices from this number on are not made by opening their node.
    probe_limit: Option<u32>,
}

/// What the devices are called.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The control device.
    pub(crate) control: &'static CStr,
    /// Its minor number, if that is fixed.
    pub(crate) control_minor: Option<u32>,
    /// A device, before its number.
    pub(crate) device: &'static CStr,
    /// The major number, if that is fixed.
    pub(crate) major: Option<u32>,
}

impl Names {
    /// Names of our own.
    pub(crate) const OWN: Self = Self {
        control: c"rloop-control",
        control_minor: None,
        device: c"rloop",
        major: None,
    };

    /// Those of the C driver, in whose place we are.
    pub(crate) const DROP_IN: Self = Self {
        control: c"loop-control",
        control_minor: Some(uapi::LOOP_CTRL_MINOR),
        device: c"loop",
        major: Some(uapi::LOOP_MAJOR),
    };
}

/// What there is to a number.
enum Slot {
    /// Its device is being made or removed.
    Reserved,
    /// A device.
    Present(Device),
}

/// A device that exists.
struct Device {
    registration: Pin<KBox<GenDiskRegistration<LoopDevice>>>,
}

impl Drop for Device {
    /// Sleeps.
    fn drop(&mut self) {
        // Before the number can be used again.
        self.registration.data().remove_debugfs();
    }
}

impl Control {
    /// Makes the driver, without devices. Sleeps.
    pub(crate) fn new(
        names: Names,
        major: u32,
        partitions: Partitions,
        probe_limit: Option<u32>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                devices <- new_mutex!(RBTree::new(), "rust_loop_control"),
                shared: Arc::pin_init(Shared::new(partitions)?, GFP_KERNEL)?,
                names,
                major,
                probe_limit,
            }),
            GFP_KERNEL,
        )
    }

    /// Adds the first `devices` devices, or as many as can be had. Sleeps.
    pub(crate) fn add_first(&self, devices: u32) {
        for number in 0..devices {
            match self.add(Some(number)) {
                Ok(_) => (),
                // Somebody has been faster, through the control device.
                Err(err) if err == EEXIST => (),
                Err(err) => {
                    pr_warn!(
                        "{}{number} not added ({})\n",
                        self.names.device,
                        err.to_errno()
                    );
                    return;
                }
            }
        }
    }

    /// Adds a device with the given number, or with the smallest that is free,
    /// and returns the number. Sleeps.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a device with this number.
    fn add(&self, number: Option<u32>) -> Result<u32> {
        let number = self.reserve(number)?;
        match self.make(number) {
            Ok(device) => {
                if let Some(slot) = self.devices.lock().get_mut(&number) {
                    *slot = Slot::Present(device);
                }
                Ok(number)
            }
            Err(err) => {
                let reserved = self.devices.lock().remove_node(&number);
                drop(reserved);
                Err(err)
            }
        }
    }

    /// Enters a number in the table.
    fn reserve(&self, number: Option<u32>) -> Result<u32> {
        let mut devices = self.devices.lock_killable()?;
        let number = match number {
            Some(number) if devices.get(&number).is_some() => return Err(EEXIST),
            Some(number) => number,
            None => first_gap(devices.keys().copied()),
        };
        if number >= max_devices(self.shared.partitions) {
            return Err(EINVAL);
        }
        devices.insert(RBTreeNode::new(number, Slot::Reserved, GFP_KERNEL)?);
        Ok(number)
    }

    /// Makes a device and its disk.
    fn make(&self, number: u32) -> Result<Device> {
        let name = CString::try_from_fmt(fmt!("{}{number}", self.names.device))?;
        let device = LoopDevice::new(number, name, self.shared.clone())?;
        let partitions = self.shared.partitions;
        let registration = KBox::pin_init(
            GenDiskRegistration::new(
                device.clone(),
                device.workers.clone(),
                GenDiskOptions {
                    name: fmt!("{}", &*device.name),
                    major: self.major,
                    minor: number * partitions.minors(),
                    minors: partitions.minors(),
                    scan_partitions: partitions.scan(),
                    max_hw_sectors: MAX_HW_SECTORS,
                    tags: TagSetOptions {
                        nr_hw_queues: 1,
                        queue_depth: hw_queue_depth.get().unsigned_abs(),
                        // The backing file may be on another block device, which has the I/O
                        // scheduler.
                        flags: TagSetFlag::Stacking | TagSetFlag::NoSchedByDefault,
                    },
                },
            ),
            GFP_KERNEL,
        )?;
        Ok(Device { registration })
    }

    /// Removes a device. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is none with this number, `EBUSY` if it is in use.
    fn remove(&self, number: u32) -> Result {
        let device = {
            let mut devices = self.devices.lock_killable()?;
            let slot = devices.get_mut(&number).ok_or(ENODEV)?;
            match core::mem::replace(slot, Slot::Reserved) {
                Slot::Reserved => return Err(ENODEV),
                Slot::Present(device) => device,
            }
        };
        let registration = &device.registration;
        if let Err(err) = registration.data().start_deleting(registration.disk()) {
            if let Some(slot) = self.devices.lock().get_mut(&number) {
                *slot = Slot::Present(device);
            }
            return Err(err);
        }
        drop(device);
        let reserved = self.devices.lock().remove_node(&number);
        drop(reserved);
        Ok(())
    }

    /// Returns the number of a device without a backing file, which is made if
    /// there is none. Somebody else may be faster to use it. Sleeps.
    fn get_free(&self) -> Result<u32> {
        let mut after = None;
        // One device at a time, as its state is locked outside the control lock.
        while let Some((number, device)) = self.next_device(after)? {
            if device.is_unbound() {
                return Ok(number);
            }
            after = Some(number);
        }
        self.add(None)
    }

    /// Returns the first device with a number greater than `after`.
    fn next_device(&self, after: Option<u32>) -> Result<Option<(u32, Arc<LoopDevice>)>> {
        let mut devices = self.devices.lock_killable()?;
        let from = after.map_or(0, |number| number + 1);
        let mut cursor = devices.cursor_lower_bound_mut(&from);
        while let Some(at) = cursor {
            if let (&number, Slot::Present(device)) = at.current() {
                return Ok(Some((number, device.registration.data().clone())));
            }
            cursor = at.move_next();
        }
        Ok(None)
    }
}

/// Returns how many devices there can be.
pub(crate) fn max_devices(partitions: Partitions) -> u32 {
    MINORS / partitions.minors()
}

/// Returns the smallest number that is not among `taken`, which ascends.
fn first_gap(taken: impl Iterator<Item = u32>) -> u32 {
    let mut gap = 0;
    for number in taken {
        if number != gap {
            break;
        }
        gap += 1;
    }
    gap
}

impl ProbeOperations for Control {
    fn slot() -> &'static ProbeSlot<Self> {
        static SLOT: ProbeSlot<Control> = ProbeSlot::new();
        &SLOT
    }

    fn probe(this: ArcBorrow<'_, Self>, minor: u32) {
        let number = minor / this.shared.partitions.minors();
        if this.probe_limit.is_none_or(|limit| number < limit) {
            // Who opens the node finds the device or does not.
            let _ = this.add(Some(number));
        }
    }
}

impl MiscOperations for Control {
    const VTABLE: &'static MiscVTable<Self> = {
        static VTABLE: MiscVTable<Control> = MiscVTable::new(this_module());
        &VTABLE
    };

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<i32> {
        // Numbers are C ints.
        let number = u32::try_from(arg as i32).ok();
        let ret = match cmd {
            uapi::LOOP_CTL_ADD => self.add(number)?,
            uapi::LOOP_CTL_REMOVE => {
                self.remove(number.ok_or(EINVAL)?)?;
                0
            }
            uapi::LOOP_CTL_GET_FREE => self.get_free()?,
            _ => return Err(ENOSYS),
        };
        Ok(ret.try_into()?)
    }
}

#[kunit_tests(rust_loop_control)]
mod tests {
    use super::*;

    #[test]
    fn gaps() {
        let table: [(&[u32], u32); 6] = [
            (&[], 0),
            (&[0], 1),
            (&[1], 0),
            (&[0, 1, 2], 3),
            (&[0, 2], 1),
            (&[0, 1, MINORS - 1], 2),
        ];
        for (taken, expected) in table {
            assert_eq!(first_gap(taken.iter().copied()), expected);
        }
    }
}
