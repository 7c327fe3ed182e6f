// SPDX-License-Identifier: GPL-2.0

//! Multi-queue block drivers (blk-mq).
//!
//! A driver implements [`Operations`] and creates a [`TagSet`], which has the requests of one
//! device.
//!
//! # Ownership of a request
//!
//! A request is a value with one owner. The block layer passes a [`NewRequest`] to
//! [`Operations::queue_rq`]. Storing the driver's data behind it turns it into a [`Request`], which
//! moves from owner to owner until [`Request::end`] or [`Request::complete`] consumes it. Ending a
//! request twice does not compile. A request that is dropped without being ended fails with an I/O
//! error. Owners lend a request as a [`RequestRef`] or a [`RequestMut`].
//!
//! # Memory behind a request
//!
//! The block layer reserves memory behind each request for the driver, the *PDU*. It has two parts.
//! The driver's data stay in place from [`NewRequest::init`] until the request ends. The contents of
//! the *scratch area* depend on the owner of the request:
//!
//! | owner | scratch area |
//! |---|---|
//! | [`Request`] | nothing |
//! | [`RequestList`] | link to the next request |
//! | file, see [`super::file_io`] | `kiocb`, and bvecs if they are few |
//! | workqueue, see [`super::file_io`] | work item |
//! | softirq that completes the request | status, and a work item |
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

mod request;
mod request_list;
mod request_ref;
mod status;
mod tag_set;

pub(crate) use self::{
    request::{
        NewRequest,
        Operations,
        Request, //
    },
    request_list::RequestList,
    request_ref::{
        Op,
        RequestMut,
        RequestRef, //
    },
    status::BlkStatus,
    tag_set::{
        num_online_queues,
        num_possible_queues,
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
