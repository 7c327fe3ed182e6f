// SPDX-License-Identifier: GPL-2.0

//! A stand-in for `loop_worker/yielding.rs`: no worker yields.

use crate::abstractions::time::KtimeNs;

pub(super) struct YieldPolicy;

impl YieldPolicy {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn after_batch(&self, _nr: u32, _delay: u64, _now: KtimeNs) -> bool {
        false
    }
}
