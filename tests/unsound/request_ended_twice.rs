// SPDX-License-Identifier: GPL-2.0
//! A request is ended once.

use crate::{
    abstractions::block::mq::{
        BlkStatus,
        Request, //
    },
    loop_cmd::LoopQueue,
};

fn misuse(rq: Request<LoopQueue>) {
    rq.end(BlkStatus::OK);
    rq.end(BlkStatus::OK); //~ E0382
}

fn copied(rq: &Request<LoopQueue>) -> Request<LoopQueue> {
    rq.clone() //~ E0308
}
