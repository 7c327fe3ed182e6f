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
//! [`Bound`] has the data that exist only while the device has a backing file.
//!
//! # Locks
//!
//! In this order, outermost first:
//!
//! 1. The *change lock* ([`LoopDevice::change`]) of the device serializes the ioctls that change
//!    a bound device. It is held over I/O, over calls of the filesystem and over freezing the
//!    queue. Openers, `LOOP_CLR_FD` and other devices never wait for it.
//! 2. The exclusive claim of the block device (`bd_prepare_to_claim()`) works like a lock.
//! 3. The *validate lock* ([`Shared::validate`]), one for all devices, keeps stacks of loop
//!    devices free of cycles. It is held while a device gets another loop device as its backing
//!    file, and in `LOOP_CLR_FD`, after which the device must not become part of a stack. No task
//!    does I/O or calls a filesystem under it.
//! 4. The block layer's `open_mutex` of the disk is held in `open` and `release`. On the same
//!    level are the limits lock of the queue, and freezing the queue.
//! 5. The *state lock* ([`LoopDevice::state`]) protects only the state. Tasks sleep under it for
//!    memory only.
//! 6. The work lock, see [`crate::loop_worker`].
//!
//! No task enters a filesystem while the queue is frozen or its limits are locked. The lock of
//! the control device ([`control`]) is never held together with any of these.

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

/// The data that all devices share.
#[pin_data]
pub(crate) struct Shared {
    /// See the head of this file.
    #[pin]
    validate: Mutex<()>,
    /// The backing files of all devices, whose page caches allocate memory without I/O.
    no_io_gfp: Arc<NoIoGfpTable>,
    /// The minor numbers of each device.
    partitions: Partitions,
    /// The number of hardware queues of each device.
    nr_hw_queues: u32,
    /// The per-CPU workqueue.
    percpu: Arc<OwnedQueue>,
    /// The workqueue for swap-out.
    swap: Arc<OwnedQueue>,
    /// The unbound workqueues for all other commands.
    queues: LevelQueues,
    /// The pool of bvec arrays for direct I/O.
    arrays: Arc<BvecArrays>,
    /// The directory of the driver in debugfs.
    debugfs: Arc<Dir>,
}

impl Shared {
    fn new(partitions: Partitions, nr_hw_queues: u32) -> Result<impl PinInit<Self>> {
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
            nr_hw_queues,
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
    /// Reserves minor numbers for at least `max` partitions of each device, and enables the
    /// partition scan on all devices. With 0, user space enables the scan for each device, and
    /// the minor numbers of partitions come from the range that all drivers share.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `max` is more than a disk can have.
    pub(crate) fn new(max: u32) -> Result<Self> {
        let shift = u32::BITS - max.leading_zeros();
        if shift <= DISK_MAX_PARTS.ilog2() {
            Ok(Self { shift })
        } else {
            Err(EINVAL)
        }
    }

    /// Returns the number of partitions with reserved minor numbers.
    pub(crate) fn max(self) -> u32 {
        self.minors() - 1
    }

    /// Returns the number of minor numbers of a device.
    pub(crate) fn minors(self) -> u32 {
        1 << self.shift
    }

    /// Returns whether all devices are scanned for partitions.
    fn scan(self) -> bool {
        self.shift > 0
    }
}

/// The driver's data of one loop device.
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
    /// The device has no backing file.
    Unbound,
    /// An ioctl is attaching a backing file.
    Binding,
    /// The device has a backing file.
    Bound(Bound),
    /// The last close will detach the backing file. Opening the device fails. `None` while the
    /// last close detaches the file.
    Rundown(Option<Bound>),
    /// The device is being removed.
    Deleting,
}

/// The data that exist while a device has a backing file.
struct Bound {
    backing: Arc<Backing>,
    /// `None` if the attributes could not be created. The device works without them.
    _sysfs: Option<GroupRegistration<LoopDevice>>,
    _module: ModuleRef,
}

impl State {
    /// Returns the data of a bound device.
    ///
    /// # Errors
    ///
    /// `ENXIO` if the device is not bound.
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

    /// Makes the last close of a bound device detach the backing file.
    fn run_down(&mut self) {
        *self = match core::mem::replace(self, Self::Unbound) {
            Self::Bound(bound) => Self::Rundown(Some(bound)),
            other => other,
        }
    }

    /// Takes the backing file of a device in rundown, for [`LoopDevice::detach`].
    fn take_run_down(&mut self) -> Option<Bound> {
        match self {
            Self::Rundown(bound) => bound.take(),
            _ => None,
        }
    }
}

impl LoopDevice {
    fn new(number: u32, name: CString, shared: Arc<Shared>) -> Result<Arc<Self>> {
        let workers = Workers::new(shared.nr_hw_queues, &shared.percpu, &shared.swap)?;
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

    /// Creates the directory in debugfs if it does not exist. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn create_debugfs(&self) -> Result {
        let mut files = self.files.lock();
        if files.is_none() {
            let dir = Dir::new_in(self.shared.debugfs.clone(), &self.name);
            *files = Some(Files::new(dir, self.workers.report()?)?);
        }
        Ok(())
    }

    /// Removes the directory in debugfs. Waits for readers, sleeps.
    fn remove_debugfs(&self) {
        let files = self.files.lock().take();
        drop(files);
    }

    /// Returns whether the device has no backing file and no ioctl is attaching one.
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

    /// Prepares the removal of the device: opening it fails from now on.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the device is open or has a backing file.
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
        // (max_part, partitions with minors, minors of a device, whether all are scanned)
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
