// SPDX-License-Identifier: GPL-2.0
//! A request that the backing file has is not touched.

use crate::{
    abstractions::{
        block::mq::{
            BlkStatus,
            Request, //
        },
        fs::kiocb::RwOptions,
    },
    loop_cmd::LoopQueue,
};

fn submitted(rq: Request<LoopQueue>) {
    let _ = rq.submit_file_io(0, RwOptions::default());
    rq.end(BlkStatus::OK); //~ E0382
}

fn deferred(rq: Request<LoopQueue>) {
    rq.defer();
    rq.end(BlkStatus::OK); //~ E0382
}
