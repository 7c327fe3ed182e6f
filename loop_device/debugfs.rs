// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/`, see [`crate::loop_worker::debugfs`].
//!
//! The directory exists from the first attach of the device until the removal of the device. A
//! device that has never been attached does not need memory for it.

use crate::{
    abstractions::debugfs::{
        Dir,
        File, //
    },
    loop_worker::debugfs::{
        Report,
        Summary, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The files of a device.
pub(super) struct Files {
    _workers: File<Report>,
    _summary: File<Summary>,
}

impl Files {
    /// Creates the files in `dir`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(dir: Dir, report: Arc<Report>) -> Result<Self> {
        let summary = Summary::new(report.clone())?;
        let dir = Arc::new(dir, GFP_KERNEL)?;
        Ok(Self {
            _workers: File::new(dir.clone(), c"workers", report),
            _summary: File::new(dir, c"summary", summary),
        })
    }
}
