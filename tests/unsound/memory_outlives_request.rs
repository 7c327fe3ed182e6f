// SPDX-License-Identifier: GPL-2.0
//! The memory of a request is not used after the request has been ended or updated.

use crate::{
    abstractions::block::{
        bvecs::BvecBuf, //
        mq::{
            BlkStatus,
            Request, //
        },
    },
    loop_cmd::LoopQueue,
};

fn ended(rq: Request<LoopQueue>) {
    let mut space = BvecBuf::new();
    if let Some(mut segments) = rq.source() {
        rq.end(BlkStatus::OK); //~ E0505
        let _ = segments.next_chunk(&mut space);
    }
}

fn updated(mut rq: Request<LoopQueue>) {
    let mut space = BvecBuf::new();
    let (mut request, _) = rq.parts();
    if let Some(mut segments) = request.dest() {
        request.update(512); //~ E0502
        let _ = segments.next_chunk(&mut space);
    }
}
