// SPDX-License-Identifier: GPL-2.0
//! A timer does not queue work on a workqueue that has been destroyed.

use crate::abstractions::workqueue::{
    OwnedQueue,
    WqFlag, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::{
        impl_has_delayed_work,
        new_delayed_work,
        DelayedWork,
        WorkItem, //
    },
};

#[pin_data]
struct Later {
    #[pin]
    work: DelayedWork<Self>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Later { self.work }
}

impl WorkItem for Later {
    type Pointer = Arc<Self>;

    fn run(_: Arc<Self>) {}
}

fn misuse() -> Result {
    let queue = OwnedQueue::new(c"q", WqFlag::Unbound.into(), OwnedQueue::DEFAULT_ACTIVE)?;
    let item = Arc::pin_init(
        pin_init!(Later { work <- new_delayed_work!("Later::work") }),
        GFP_KERNEL,
    )?;
    let _ = queue.enqueue_delayed(item, 1000); //~ E0599
    Ok(())
}
