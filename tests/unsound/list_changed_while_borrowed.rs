// SPDX-License-Identifier: GPL-2.0
//! The data of a request that waits is not used after the request has left the list.

use crate::{
    abstractions::block::mq::RequestList,
    loop_cmd::{
        LoopCmd,
        LoopQueue, //
    },
};

fn misuse(list: &mut RequestList<LoopQueue>) -> bool {
    let first: Option<&LoopCmd> = list.first();
    let _ = list.pop_front(); //~ E0502
    first.is_some()
}
