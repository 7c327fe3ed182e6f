// SPDX-License-Identifier: GPL-2.0
//! The data of a request that waits is not used after the request has left the list.

use crate::{
    abstractions::block::mq::RequestList,
    loop_cmd::Queued,
    loop_device::LoopDevice,
};

fn misuse(list: &mut RequestList<LoopDevice>) -> Option<bool> {
    let first: &Queued = list.first()?;
    let _ = list.pop_front(); //~ E0502
    Some(first.charge.is_some())
}
