// SPDX-License-Identifier: GPL-2.0

//! State that the commands of one worker share.

use super::{
    retry::MemoryState,
    stats::Stats, //
};

/// See the head of this file. Read and written in any context, without locks.
pub(crate) struct CmdGroup {
    /// Statistics.
    pub(crate) stats: Stats,
    /// Whether there was memory for recent commands.
    pub(super) memory: MemoryState,
}

impl CmdGroup {
    /// Returns the state for commands of a new worker.
    pub(crate) fn new() -> Self {
        Self {
            stats: Stats::new(),
            memory: MemoryState::new(),
        }
    }

    /// Returns what repeated attempts change.
    pub(super) fn retry_state(&self) -> (&Stats, &MemoryState) {
        (&self.stats, &self.memory)
    }
}
