// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/`, see [`crate::loop_worker::debugfs`].
//!
//! The directory exists from the first attach of the device until the removal of the device. A
//! device that has never been attached does not need memory for it.

use super::LoopDevice;
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

impl LoopDevice {
    /// Creates the directory if it does not exist. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn create_debugfs(&self) -> Result {
        let mut files = self.files.lock();
        if files.is_none() {
            let report = self.workers.report()?;
            let summary = Summary::new(report.clone())?;
            let dir = Arc::new(
                Dir::new_in(self.shared.debugfs.clone(), &self.name),
                GFP_KERNEL,
            )?;
            *files = Some(Files {
                _workers: File::new(dir.clone(), c"workers", report),
                _summary: File::new(dir, c"summary", summary),
            });
        }
        Ok(())
    }

    /// Removes the directory. Waits for readers, sleeps.
    pub(super) fn remove_debugfs(&self) {
        let files = self.files.lock().take();
        drop(files);
    }
}
