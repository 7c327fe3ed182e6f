// SPDX-License-Identifier: GPL-2.0

//! One loop device: `/dev/rloopN`.
//!
//! # States
//!
//! ```text
//!            configure              clear_fd by the only
//! Unbound ----> Binding ----> Bound -- opener; last close --> Rundown
//!  ^   | ^         |                   after clear_fd or     |
//!  |   | +---------+ error             with autoclear        |
//!  |   | remove                                              |
//!  |   +--------> Deleting                                   |
//!  +---------------------------------------------------------+
//!                        detached
//! ```
//!
//! What exists only while the device has a backing file is inside
//! [`State::Bound`], see [`Bound`].
//!
//! # Locks
//!
//! In this order, outermost first:
//!
//! 1. the *change lock* ([`LoopDevice::change`]) of the device, held while an ioctl changes
//!    a device that is bound: over I/O, over waiting for the filesystem, and over freezing the
//!    queue. Only such ioctls wait for it: no opener, no `LOOP_CLR_FD`, no other device;
//! 2. the exclusive claim of the block device, a lock in all but name;
//! 3. the *validate lock* ([`Shared::validate`]), one for all devices, held while
//!    a device gets another loop device as its backing file, so that two that do
//!    so at once cannot become each other's; and in `LOOP_CLR_FD`, so that a device
//!    that is about to lose its file is not found bound by one of these. No task does I/O or
//!    waits for a filesystem under it;
//! 4. the block layer's `open_mutex` of the disk, held in `open` and `release`; or the limits
//!    lock of the queue, and freezing the queue;
//! 5. the *state lock* ([`LoopDevice::state`]), which protects the state and nothing else. No
//!    task sleeps under it but for memory;
//! 6. the work lock, see [`crate::loop_worker`].
//!
//! With the queue frozen or its limits locked, nothing enters a filesystem. The
//! lock of the control device ([`control`]) is taken with none of these held,
//! and none of these is taken under it.

#![forbid(unsafe_code)]

pub(crate) mod control;

mod attach;
mod change_fd;
mod debugfs;
mod ioctl;
mod limits;
mod status;
mod sysfs;

use self::debugfs::Files;
use crate::{
    abstractions::{
        block::{
            bdev_ops::{
                BlockDeviceOperations,
                BlockDeviceVTable,
                IoctlCaller, //
            },
            file_io::BvecArrays,
            gen_disk::registration::DISK_MAX_PARTS,
            gen_disk::{
                GenDisk,
                Releasing, //
            },
        },
        compat::this_module::this_module,
        debugfs::Dir,
        fs::NoIoGfpTable,
        module::ModuleRef,
        sysfs::GroupRegistration,
        workqueue::{
            OwnedQueue,
            WqFlag, //
        },
    },
    backing_file::Backing,
    loop_cmd::LoopQueue,
    loop_worker::{
        levels::{
            new_reclaim_queue,
            LevelQueues, //
        },
        Workers, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
};

/// What all devices share.
#[pin_data]
pub(crate) struct Shared {
    /// See the head of this file.
    #[pin]
    validate: Mutex<()>,
    /// The files of all devices.
    no_io_gfp: Arc<NoIoGfpTable>,
    /// What is said of partitions.
    partitions: Partitions,
    /// For workers that run where their command was issued.
    percpu: Arc<OwnedQueue>,
    /// For workers that write swap.
    swap: Arc<OwnedQueue>,
    /// For all other workers.
    queues: LevelQueues,
    /// For the direct I/O of all devices.
    arrays: Arc<BvecArrays>,
    /// The directory of the driver.
    debugfs: Arc<Dir>,
}

impl Shared {
    fn new(partitions: Partitions) -> Result<impl PinInit<Self>> {
        // Commands take long, and must not delay other work of the CPU.
        let flags = WqFlag::Percpu | WqFlag::Freezable | WqFlag::CpuIntensive;
        let percpu = OwnedQueue::new(c"rust_loop_percpu", flags, OwnedQueue::DEFAULT_ACTIVE)?;
        let percpu = Arc::new(percpu, GFP_KERNEL)?;
        let swap = new_reclaim_queue(c"rust_loop_swap")?;
        let swap = Arc::new(swap, GFP_KERNEL)?;
        let no_io_gfp = Arc::pin_init(NoIoGfpTable::new(), GFP_KERNEL)?;
        let queues = LevelQueues::new()?;
        let arrays = Arc::new(BvecArrays::new()?, GFP_KERNEL)?;
        let debugfs = Arc::new(Dir::new(c"rust_loop"), GFP_KERNEL)?;
        Ok(pin_init!(Self {
            validate <- new_mutex!((), "rust_loop_validate"),
            no_io_gfp,
            partitions,
            percpu,
            swap,
            queues,
            arrays,
            debugfs,
        }))
    }
}

/// Minor numbers of a device and its partitions.
#[derive(Clone, Copy)]
pub(crate) struct Partitions {
    /// The device has `1 << shift` minor numbers.
    shift: u32,
}

impl Partitions {
    /// Makes room for `max` partitions, and then looks for them on every device.
    /// With 0, which partitions there are is a matter of each device, and their
    /// minor numbers are from the range that all drivers share.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a disk cannot have so many.
    pub(crate) fn new(max: u32) -> Result<Self> {
        let shift = u32::BITS - max.leading_zeros();
        if shift <= DISK_MAX_PARTS.ilog2() {
            Ok(Self { shift })
        } else {
            Err(EINVAL)
        }
    }

    /// Returns how many partitions there is room for.
    pub(crate) fn max(self) -> u32 {
        self.minors() - 1
    }

    /// Returns how many minor numbers a device has.
    pub(crate) fn minors(self) -> u32 {
        1 << self.shift
    }

    /// Returns whether all devices are searched for partitions.
    fn scan(self) -> bool {
        self.shift > 0
    }
}

/// A loop device, as the driver sees it.
#[pin_data]
pub(crate) struct LoopDevice {
    number: u32,
    name: CString,
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    /// See [`debugfs`].
    #[pin]
    files: Mutex<Option<Files>>,
    /// See the head of this file.
    #[pin]
    change: Mutex<()>,
    /// See the head of this file.
    #[pin]
    state: Mutex<State>,
}

/// See the head of this file.
enum State {
    /// There is no backing file.
    Unbound,
    /// An ioctl is about to give the device one, having asked the filesystem about it.
    Binding,
    /// There is one.
    Bound(Bound),
    /// There is one to be let go when the last user closes the device; others
    /// are kept out. `None` while that user does so.
    Rundown(Option<Bound>),
    /// The device is about to go away.
    Deleting,
}

/// What exists while a device has a backing file.
struct Bound {
    backing: Arc<Backing>,
    /// `None` if the attributes could not be created, which is no reason not to
    /// be a disk.
    _sysfs: Option<GroupRegistration<LoopDevice>>,
    _module: ModuleRef,
}

impl State {
    /// Returns what a bound device has.
    fn bound(&self) -> Result<&Bound> {
        match self {
            Self::Bound(bound) => Ok(bound),
            _ => Err(ENXIO),
        }
    }

    /// See [`Self::bound`].
    fn bound_mut(&mut self) -> Result<&mut Bound> {
        match self {
            Self::Bound(bound) => Ok(bound),
            _ => Err(ENXIO),
        }
    }

    /// Lets a bound device run down.
    fn run_down(&mut self) {
        *self = match core::mem::replace(self, Self::Unbound) {
            Self::Bound(bound) => Self::Rundown(Some(bound)),
            other => other,
        }
    }

    /// Takes from a device that has run down what it had, to detach it.
    fn take_run_down(&mut self) -> Option<Bound> {
        match self {
            Self::Rundown(bound) => bound.take(),
            _ => None,
        }
    }
}

impl LoopDevice {
    fn new(number: u32, name: CString, shared: Arc<Shared>) -> Result<Arc<Self>> {
        let workers = Workers::new(shared.percpu.clone(), shared.swap.clone())?;
        Arc::pin_init(
            pin_init!(Self {
                number,
                name,
                shared,
                workers,
                files <- new_mutex!(None, "rust_loop_debugfs"),
                change <- new_mutex!((), "rust_loop_change"),
                state <- new_mutex!(State::Unbound, "rust_loop_state"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether the device has no backing file, and is not about to get one.
    fn is_unbound(&self) -> bool {
        matches!(*self.state.lock(), State::Unbound)
    }

    /// Returns the backing file of a bound device.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is not bound.
    fn bound_backing(&self) -> Result<Arc<Backing>> {
        Ok(self.state.lock().bound()?.backing.clone())
    }

    /// Keeps everybody out of a device that is to be removed.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is in use.
    fn start_deleting(&self, disk: &GenDisk<Self>) -> Result {
        let mut state = self.state.lock();
        if !matches!(*state, State::Unbound) || disk.openers() > 0 {
            return Err(EBUSY);
        }
        *state = State::Deleting;
        Ok(())
    }
}

impl BlockDeviceOperations for LoopDevice {
    type Queue = LoopQueue;

    const VTABLE: &'static BlockDeviceVTable<Self> = {
        static VTABLE: BlockDeviceVTable<LoopDevice> = BlockDeviceVTable::new(this_module());
        &VTABLE
    };

    fn open(this: ArcBorrow<'_, Self>, _disk: &GenDisk<Self>) -> Result {
        match *this.state.lock() {
            State::Unbound | State::Binding | State::Bound(_) => Ok(()),
            State::Rundown(_) | State::Deleting => Err(ENXIO),
        }
    }

    fn release(this: ArcBorrow<'_, Self>, disk: Releasing<'_, Self>) {
        if disk.openers() > 0 {
            return;
        }
        let run_down = {
            let mut state = this.state.lock();
            if matches!(&*state, State::Bound(bound) if bound.backing.is_autoclear()) {
                state.run_down();
            }
            state.take_run_down()
        };
        if let Some(bound) = run_down {
            this.detach(disk, bound);
        }
    }

    fn ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32> {
        ioctl::native(this, caller, cmd, arg)
    }

    fn compat_ioctl(
        this: ArcBorrow<'_, Self>,
        caller: &IoctlCaller<'_, Self>,
        cmd: u32,
        arg: usize,
    ) -> Result<i32> {
        ioctl::compat(this, caller, cmd, arg)
    }
}

#[kunit_tests(rust_loop_partitions)]
mod tests {
    use super::*;

    #[test]
    fn partition_minors() {
        // (asked for, room for partitions, minors, whether all devices are searched)
        let table = [
            (0, 0, 1, false),
            (1, 1, 2, true),
            (2, 3, 4, true),
            (7, 7, 8, true),
            (8, 15, 16, true),
            (255, 255, 256, true),
        ];
        for (asked, max, minors, scan) in table {
            match Partitions::new(asked) {
                Ok(partitions) => {
                    assert_eq!(partitions.max(), max);
                    assert_eq!(partitions.minors(), minors);
                    assert!(partitions.scan() == scan);
                }
                Err(_) => assert!(false),
            }
        }
        assert!(Partitions::new(256).is_err());
        assert!(Partitions::new(u32::MAX).is_err());
    }
}
