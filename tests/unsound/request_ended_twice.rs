// SPDX-License-Identifier: GPL-2.0
//! A request is ended once.

use crate::{
    abstractions::block::mq::{
        BlkStatus,
        Request, //
    },
    loop_device::LoopDevice,
};

fn misuse(rq: Request<LoopDevice>) {
    rq.end(BlkStatus::OK);
    rq.end(BlkStatus::OK); //~ E0382
}

fn copied(rq: &Request<LoopDevice>) -> Request<LoopDevice> {
    rq.clone() //~ E0308
}
