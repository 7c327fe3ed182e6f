// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/`, see [`crate::loop_worker::debugfs`].
//!
//! The directory is there from the first time that the device is attached until the device is
//! removed. So a device that is only there to be attached does not take the memory of it.

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
    /// Creates the directory if there is none. Sleeps.
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

    /// Removes the directory, for good. Waits for readers, sleeps.
    pub(super) fn remove_debugfs(&self) {
        let files = self.files.lock().take();
        drop(files);
    }
}
