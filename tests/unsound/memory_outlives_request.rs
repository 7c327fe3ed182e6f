// SPDX-License-Identifier: GPL-2.0
//! The memory of a request is not used after the request has been ended or updated.

use crate::{
    abstractions::block::{
        mq::{
            BlkStatus,
            Request, //
        },
        segments::PartSpace, //
    },
    loop_device::LoopDevice,
};

fn ended(rq: Request<LoopDevice>) {
    let mut space = PartSpace::new();
    if let Some(mut segments) = rq.source() {
        rq.end(BlkStatus::OK); //~ E0505
        let _ = segments.next_part(&mut space);
    }
}

fn updated(mut rq: Request<LoopDevice>) {
    let mut space = PartSpace::new();
    if let Some(mut segments) = rq.dest() {
        rq.complete_partially(512); //~ E0502
        let _ = segments.next_part(&mut space);
    }
}
