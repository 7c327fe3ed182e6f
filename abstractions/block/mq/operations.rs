// SPDX-License-Identifier: GPL-2.0

//! The operations that a multi-queue block driver provides (`struct blk_mq_ops`).
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::NewRequest;
use kernel::sync::ArcBorrow;

/// A multi-queue block driver.
pub(crate) trait Operations: Sized + Send + Sync + 'static {
    /// Driver data of a queue (`queuedata`).
    type QueueData: Send + Sync + 'static;

    /// Driver data of a request. It is in the memory behind the request from
    /// [`NewRequest::init`] until the request ends, and does not move.
    type RequestData: Send + Sync + 'static;

    /// Takes over a request that has just been started.
    ///
    /// Called in process or softirq context, within an RCU read-side critical section: must
    /// not sleep. `is_last` says that the block layer does not submit another request right
    /// after this one.
    fn queue_rq(data: ArcBorrow<'_, Self::QueueData>, rq: NewRequest<Self>, is_last: bool);
}
