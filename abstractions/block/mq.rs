// SPDX-License-Identifier: GPL-2.0

//! Multi-queue block drivers: tag sets, requests, and the life of a request.
//!
//! A request is a value with one owner. The block layer hands a [`NewRequest`] to
//! [`Operations::queue_rq`]. With the driver's data put behind it, it becomes a [`Request`],
//! which moves from owner to owner until [`Request::end`] takes it. Ending a request twice does
//! not compile; dropping it without ending it fails it with an I/O error.
//!
//! While a request waits it is in a [`RequestList`], which links requests through the memory
//! behind them.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

mod request;
mod request_list;
mod status;
mod tag_set;

pub(crate) use self::{
    request::{
        NewRequest,
        Op,
        Operations,
        Request,
        RequestMut,
        RequestRef, //
    },
    request_list::RequestList,
    status::BlkStatus,
    tag_set::{
        TagSet,
        TagSetFlag,
        TagSetOptions, //
    },
};
pub(crate) use kernel::block::{
    SECTOR_SHIFT,
    SECTOR_SIZE, //
};

pub(super) use self::request::PduVariant;
