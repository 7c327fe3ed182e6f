// SPDX-License-Identifier: GPL-2.0

//! The ioctls of a device: who may do what, and how arguments are passed.

use super::LoopDevice;
use crate::abstractions::{
    block::disk::{
        BlockDevice,
        OpenMode, //
    },
    task,
    uapi::{
        self,
        LoopConfig,
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

/// An ioctl of a process that is like the kernel.
///
/// # Errors
///
/// `EINVAL` for an ioctl that is not known, `EPERM` for who neither has the
/// device open for writing nor `CAP_SYS_ADMIN`, `EFAULT` for a bad pointer, and
/// those of what it does.
pub(super) fn native(
    this: ArcBorrow<'_, LoopDevice>,
    bdev: &BlockDevice<LoopDevice>,
    mode: OpenMode,
    cmd: u32,
    arg: usize,
) -> Result<i32> {
    let disk = bdev.disk();
    match cmd {
        uapi::LOOP_SET_FD => this.configure(bdev, mode, &LoopConfig::of_fd(arg as u32)),
        uapi::LOOP_CONFIGURE => this.configure(bdev, mode, &read(arg)?),
        uapi::LOOP_CLR_FD => this.clear_fd(disk),
        uapi::LOOP_SET_STATUS64 => {
            may_change(mode)?;
            this.set_status(disk, &read(arg)?)
        }
        uapi::LOOP_GET_STATUS64 if arg == 0 => Err(EINVAL),
        uapi::LOOP_GET_STATUS64 => write(arg, &this.get_status()?),
        uapi::LOOP_SET_CAPACITY => {
            may_change(mode)?;
            this.update_capacity(disk)
        }
        _ => Err(EINVAL),
    }
    .map(|()| 0)
}

/// An ioctl of a 32-bit process on a 64-bit kernel. The structures are the same
/// there, the pointers are not.
///
/// # Errors
///
/// `ENOIOCTLCMD` for an ioctl that is not known, and those of [`native`].
pub(super) fn compat(
    this: ArcBorrow<'_, LoopDevice>,
    bdev: &BlockDevice<LoopDevice>,
    mode: OpenMode,
    cmd: u32,
    arg: usize,
) -> Result<i32> {
    match cmd {
        uapi::LOOP_SET_FD => native(this, bdev, mode, cmd, arg),
        uapi::LOOP_CONFIGURE
        | uapi::LOOP_CLR_FD
        | uapi::LOOP_SET_STATUS64
        | uapi::LOOP_GET_STATUS64
        | uapi::LOOP_SET_CAPACITY => native(this, bdev, mode, cmd, arg as u32 as usize),
        _ => Err(ENOIOCTLCMD),
    }
}

fn may_change(mode: OpenMode) -> Result {
    match mode.is_write() || task::capable_sys_admin() {
        true => Ok(()),
        false => Err(EPERM),
    }
}

fn read<T: FromBytes>(arg: usize) -> Result<T> {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .reader()
        .read()
}

fn write(arg: usize, info: &LoopInfo64) -> Result
where
    LoopInfo64: AsBytes,
{
    UserSlice::new(UserPtr::from_addr(arg), size_of::<LoopInfo64>())
        .writer()
        .write(info)
}
