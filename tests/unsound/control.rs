// SPDX-License-Identifier: GPL-2.0
//! Correct use of all that the other files misuse. This must compile.

use crate::{
    abstractions::{
        block::{
            bdev_ops::IoctlCaller,
            bvecs::BvecBuf, //
            mq::{
                BlkStatus,
                Request, //
            },
        },
        cgroup::IoCgroup,
        compat::this_module::this_module,
        fs::{
            kiocb::RwOptions,
            BackingFile, //
        },
        module::ModuleRef,
        sync::SpinLockIrq,
    },
    loop_cmd::LoopQueue,
    loop_device::LoopDevice,
};
use kernel::prelude::*;

fn charges(a: &IoCgroup, b: &IoCgroup) -> u32 {
    a.associate(|| b.associate(|| 1))
}

fn reads(file: &BackingFile, read: &Request<LoopQueue>) -> Result<usize> {
    let mut space = BvecBuf::new();
    let mut segments = read.dest().ok_or(EINVAL)?;
    let mut iter = segments.next_chunk(&mut space).ok_or(EINVAL)?;
    let n = file.read(0, iter.as_dest(), RwOptions::default())?;
    iter.zero_remaining();
    Ok(n)
}

fn ends(rq: Request<LoopQueue>) {
    rq.end(BlkStatus::OK);
}

fn locks(lock: &SpinLockIrq<u32>) -> u32 {
    lock.with(|n| *n)
}

fn freezes(caller: &IoctlCaller<'_, LoopDevice>) -> Result {
    let _file = caller.fget(0)?;
    let _module = ModuleRef::try_get(this_module())?;
    caller.disk().while_frozen(|frozen| frozen.invalidate());
    Ok(())
}
