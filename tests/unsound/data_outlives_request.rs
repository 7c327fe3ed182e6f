// SPDX-License-Identifier: GPL-2.0
//! The driver's data of a request are not used after the request has ended.

use crate::{
    abstractions::block::mq::{
        BlkStatus,
        NewRequest,
        Request, //
    },
    loop_cmd::{
        LoopCmd,
        LoopQueue, //
    },
};

fn ended(rq: Request<LoopQueue>) -> bool {
    let cmd = rq.data();
    rq.end(BlkStatus::OK); //~ E0505
    cmd.can_issue(false)
}

fn before_init(rq: &NewRequest<LoopQueue>) -> &LoopCmd {
    rq.data() //~ E0599
}

fn replaced(rq: NewRequest<LoopQueue>, first: LoopCmd, second: LoopCmd) {
    drop(rq.init(first));
    drop(rq.init(second)); //~ E0382
}
