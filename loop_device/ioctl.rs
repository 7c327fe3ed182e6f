// SPDX-License-Identifier: GPL-2.0

//! The ioctls of a device: permissions, and the passing of arguments.

use super::LoopDevice;
use crate::abstractions::{
    block::{
        bdev::BlkMode,
        bdev_ops::IoctlCaller, //
    },
    task,
    uapi::{
        self,
        CompatLoopInfo,
        LoopConfig,
        LoopInfo,
        LoopInfo64, //
    },
};
use kernel::{
    prelude::*,
    sync::ArcBorrow,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// Handles an ioctl of a process with the word size of the kernel. Sleeps.
///
/// # Errors
///
/// - `EINVAL`: the ioctl is unknown;
/// - `EPERM`: the caller has neither opened the device for writing nor `CAP_SYS_ADMIN`;
/// - `EFAULT`: the argument is not a valid pointer;
/// - the errors of the operation.
pub(super) fn native(
    this: ArcBorrow<'_, LoopDevice>,
    caller: &IoctlCaller<'_, LoopDevice>,
    cmd: u32,
    arg: usize,
) -> Result<i32> {
    let (disk, mode) = (caller.disk(), caller.mode());
    match cmd {
        uapi::LOOP_SET_FD => this.configure(caller, arg as u32, 0, LoopInfo64::ZERO),
        uapi::LOOP_CONFIGURE => {
            let config: LoopConfig = read(arg)?;
            this.configure(caller, config.fd, config.block_size, config.info64())
        }
        uapi::LOOP_CHANGE_FD => this.change_fd(caller, arg as u32),
        uapi::LOOP_CLR_FD => this.clear_fd(disk),
        uapi::LOOP_SET_STATUS => {
            may_change(mode)?;
            this.set_status(disk, &read::<LoopInfo>(arg)?.to_info64())
        }
        uapi::LOOP_SET_STATUS64 => {
            may_change(mode)?;
            this.set_status(disk, &read(arg)?)
        }
        uapi::LOOP_GET_STATUS | uapi::LOOP_GET_STATUS64 if arg == 0 => Err(EINVAL),
        uapi::LOOP_GET_STATUS => write(arg, &LoopInfo::try_from_info64(&this.get_status()?)?),
        uapi::LOOP_GET_STATUS64 => write(arg, &this.get_status()?),
        uapi::LOOP_SET_CAPACITY => {
            may_change(mode)?;
            this.update_capacity(disk)
        }
        uapi::LOOP_SET_DIRECT_IO => {
            may_change(mode)?;
            this.set_direct_io(disk, arg != 0)
        }
        uapi::LOOP_SET_BLOCK_SIZE => {
            may_change(mode)?;
            this.set_block_size(caller, arg)
        }
        _ => Err(EINVAL),
    }
    .map(|()| 0)
}

/// Handles an ioctl of a 32-bit process on a 64-bit kernel. Pointers have 32 bits there. Only
/// the oldest structure, `struct loop_info`, has another layout. Sleeps.
///
/// # Errors
///
/// `ENOIOCTLCMD` for an unknown ioctl, else those of [`native`].
pub(super) fn compat(
    this: ArcBorrow<'_, LoopDevice>,
    caller: &IoctlCaller<'_, LoopDevice>,
    cmd: u32,
    arg: usize,
) -> Result<i32> {
    let pointer = arg as u32 as usize;
    match cmd {
        uapi::LOOP_SET_STATUS => {
            // The C driver lacks this check before 7.3.
            may_change(caller.mode())?;
            let info = read::<CompatLoopInfo>(pointer)?.to_info64();
            this.set_status(caller.disk(), &info).map(|()| 0)
        }
        uapi::LOOP_GET_STATUS if pointer == 0 => Err(EINVAL),
        uapi::LOOP_GET_STATUS => {
            let info = CompatLoopInfo::try_from_info64(&this.get_status()?)?;
            write(pointer, &info).map(|()| 0)
        }
        uapi::LOOP_SET_FD
        | uapi::LOOP_CHANGE_FD
        | uapi::LOOP_SET_BLOCK_SIZE
        | uapi::LOOP_SET_DIRECT_IO => native(this, caller, cmd, arg),
        uapi::LOOP_CONFIGURE
        | uapi::LOOP_CLR_FD
        | uapi::LOOP_SET_STATUS64
        | uapi::LOOP_GET_STATUS64
        | uapi::LOOP_SET_CAPACITY => native(this, caller, cmd, pointer),
        _ => Err(ENOIOCTLCMD),
    }
}

/// Checks that the caller may change the device.
fn may_change(mode: BlkMode) -> Result {
    if mode.is_write() || task::capable_sys_admin() {
        Ok(())
    } else {
        Err(EPERM)
    }
}

fn read<T: FromBytes>(arg: usize) -> Result<T> {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .reader()
        .read()
}

fn write<T: AsBytes>(arg: usize, info: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .writer()
        .write(info)
}

#[kunit_tests(rust_loop_ioctl)]
mod tests {
    use super::*;

    #[test]
    fn old_status_of_a_device() {
        const LARGE: u64 = 1 << 32;
        // The device numbers of a 32-bit process have 2 bytes on x86, and 4 on arm64.
        let wide = size_of_val(&CompatLoopInfo::default().lo_device) > 2;
        // (offset, inode, device, fits, fits a 32-bit process)
        let table = [
            (0, 1, 7, true, true),
            (0x7fff_ffff, 1, 7, true, true),
            (0x8000_0000, 1, 7, false, false),
            (LARGE, 1, 7, false, false),
            (0, LARGE, 7, true, false),
            (0, 1, 0xffff, true, true),
            (0, 1, 0x1_0000, true, wide),
        ];
        for (offset, inode, device, native, compat) in table {
            let mut info = LoopInfo64::default();
            info.lo_offset = offset;
            info.lo_inode = inode;
            info.lo_device = device;
            assert!(LoopInfo::try_from_info64(&info).is_ok() == native);
            assert!(CompatLoopInfo::try_from_info64(&info).is_ok() == compat);
        }
    }

    #[test]
    fn old_status_to_set() {
        // (offset, expected)
        let table = [(0, 0), (512, 512), (i32::MAX, 0x7fff_ffff), (-1, u64::MAX)];
        for (offset, expected) in table {
            let mut native = LoopInfo::default();
            native.lo_offset = offset;
            assert_eq!(native.to_info64().lo_offset, expected);
            let mut compat = CompatLoopInfo::default();
            compat.lo_offset = offset;
            assert_eq!(compat.to_info64().lo_offset, expected);
        }
    }
}
