// SPDX-License-Identifier: GPL-2.0
//! A request that the backing file has is not touched.

use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Request, //
        },
        fs::kiocb::Access,
    },
    loop_cmd::Running,
    loop_device::LoopDevice,
};

fn misuse(rq: Request<LoopDevice>, data: Running) {
    let _ = rq.transfer(0, Access::default(), data);
    rq.end(BlkStatus::OK); //~ E0382
}

fn deferred(rq: Request<LoopDevice>, data: Running) {
    rq.defer(data);
    rq.end(BlkStatus::OK); //~ E0382
}
