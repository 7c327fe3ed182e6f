// SPDX-License-Identifier: GPL-2.0

//! `/dev/rloop-control`: adding, finding and removing devices.
//!
//! The *control lock* ([`Control::devices`]) protects the table of devices. No device is created,
//! removed or locked under it. Instead, its number is reserved in the table meanwhile.

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

/// The number of minor numbers of a major number.
const MINORS: u32 = 1 << 20;

/// The maximum size of a request, in sectors: 1280 KiB, as in the C driver.
const MAX_HW_SECTORS: u32 = 2560;

/// The control device, which owns all loop devices.
#[pin_data]
pub(crate) struct Control {
    // Dropped first: devices use the other fields.
    #[pin]
    devices: Mutex<RBTree<u32, Slot>>,
    shared: Arc<Shared>,
    names: Names,
    /// The major number of all devices.
    major: u32,
    /// Opening a node creates its device only below this number. `None` for no limit.
    probe_limit: Option<u32>,
}

/// The names and fixed numbers of devices.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    /// The name of the control device.
    pub(crate) control: &'static CStr,
    /// The minor number of the control device, if it is fixed.
    pub(crate) control_minor: Option<u32>,
    /// The name of a device, without its number.
    pub(crate) device: &'static CStr,
    /// The major number of devices, if it is fixed.
    pub(crate) major: Option<u32>,
}

impl Names {
    /// The names of this driver.
    pub(crate) const OWN: Self = Self {
        control: c"rloop-control",
        control_minor: None,
        device: c"rloop",
        major: None,
    };

    /// The names and numbers of the C driver, for `drop_in`.
    pub(crate) const DROP_IN: Self = Self {
        control: c"loop-control",
        control_minor: Some(uapi::LOOP_CTRL_MINOR),
        device: c"loop",
        major: Some(uapi::LOOP_MAJOR),
    };
}

/// An entry in the table of devices.
enum Slot {
    /// The device is being created or removed.
    Reserved,
    /// The device exists.
    Present(Device),
}

/// A device with its disk.
struct Device {
    registration: Pin<KBox<GenDiskRegistration<LoopDevice>>>,
}

impl Drop for Device {
    /// Sleeps.
    fn drop(&mut self) {
        // The directory must be gone before the number, and with it the name, is used again.
        self.registration.data().remove_debugfs();
    }
}

impl Control {
    /// Creates the control data, without devices. Sleeps.
    pub(crate) fn new(
        names: Names,
        major: u32,
        partitions: Partitions,
        nr_hw_queues: u32,
        probe_limit: Option<u32>,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                devices <- new_mutex!(RBTree::new(), "rust_loop_control"),
                shared: Arc::pin_init(Shared::new(partitions, nr_hw_queues)?, GFP_KERNEL)?,
                names,
                major,
                probe_limit,
            }),
            GFP_KERNEL,
        )
    }

    /// Adds the devices 0 to `devices` - 1, up to the first that cannot be created. Sleeps.
    pub(crate) fn add_first(&self, devices: u32) {
        for number in 0..devices {
            match self.add(Some(number)) {
                Ok(_) => (),
                // User space has added it through the control device.
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

    /// Adds a device with the given number, or with the lowest free number. Returns the number.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// `EEXIST` if a device has this number, `EINVAL` if the number is too high.
    fn add(&self, number: Option<u32>) -> Result<u32> {
        let number = self.reserve(number)?;
        match self.create_device(number) {
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

    /// Reserves the given number, or the lowest free number, in the table.
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

    /// Creates a device and its disk.
    fn create_device(&self, number: u32) -> Result<Device> {
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
                        nr_hw_queues: self.shared.nr_hw_queues,
                        queue_depth: hw_queue_depth.get().unsigned_abs(),
                        // The backing file may be on another block device, which has the I/O
                        // scheduler. Shared tags keep the memory of a device independent of the
                        // number of hardware queues, for the most part.
                        flags: TagSetFlag::Stacking
                            | TagSetFlag::NoSchedByDefault
                            | TagSetFlag::TagHctxShared,
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
    /// `ENODEV` if no device has this number, `EBUSY` if the device is in use.
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

    /// Returns the number of a device without a backing file. Adds a device if all have one.
    /// Another task may attach a file to the device before the caller does. Sleeps.
    fn get_free(&self) -> Result<u32> {
        let mut after = None;
        // One device at a time, because its state lock is not taken under the control lock.
        while let Some((number, device)) = self.next_device(after)? {
            if device.is_unbound() {
                return Ok(number);
            }
            after = Some(number);
        }
        self.add(None)
    }

    /// Returns the first device whose number is greater than `after`.
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

/// Returns the maximum number of devices.
pub(crate) fn max_devices(partitions: Partitions) -> u32 {
    MINORS / partitions.minors()
}

/// Returns the lowest number that is not among `taken`, which is in ascending order.
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
            // Ignore the error: if the device was not created, the open fails with `ENXIO`.
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
        // The ioctls pass the number as a C `int`; a negative one means any.
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
