// SPDX-License-Identifier: GPL-2.0

//! What a worker does where it runs: it takes all commands that wait, begins what can be
//! begun, executes the others, and looks for more.

use super::{
    executors::PAUSE,
    LoopWorker,
    Whose,
    WorkerSet, //
};
use crate::{
    abstractions::{
        block::{
            mq::RequestList,
            plug::plugged, //
        },
        task,
        time::Nanos, //
    },
    loop_cmd::{
        Begun,
        LoopCmd, //
    },
    loop_device::LoopDevice,
};
use kernel::sync::Arc;

/// How many commands are begun before devices get what was submitted for them: half of
/// what the block layer takes for a batch (`BLK_MAX_REQUEST_COUNT`), as a command can make
/// more than one request.
const BATCH: u32 = 16;

/// How long a command waits, in nanoseconds, for a worker that rests and has left its
/// processor to somebody else than who issues commands: the least that the scheduler gives
/// to who does not wait for anything is 700 us. To issue 32 takes less than half of that.
const REST_LATE_NANOS: u64 = 500_000;

/// For how long a worker does not rest at the most, in nanoseconds: commands wait for what
/// is slow below, too.
const MOST_PAUSE_NANOS: u64 = 1_000_000_000;

impl LoopWorker {
    /// Executes commands until there are none, or until they are to be executed elsewhere.
    /// Process context, sleeps.
    pub(super) fn execute_all(this: &Arc<Self>, is_nearby: bool) {
        task::with_backing_io(|| {
            // What the file has begun to read, in the order in which it has.
            let mut reading = RequestList::new();
            let mut cmds = WorkerSet::first_cmds(&this.set, this, is_nearby);
            while let Some(mut waiting) = cmds {
                let taken = Nanos::now();
                let may_rest = this.may_rest(&waiting, taken);
                this.execute_some(&mut waiting, &mut reading, taken);
                if may_rest && reading.is_empty() {
                    task::yield_now();
                }
                cmds = WorkerSet::next_cmds(&this.set, this, is_nearby, reading.len());
            }
        })
    }

    /// Returns whether the worker, when it has executed the commands `waiting`, should let
    /// other tasks have its processor before it looks for more.
    ///
    /// Who issues many may be one of them. To execute its commands one by one, each as soon
    /// as it comes, takes two switches of tasks for each; whoever finds the worker still
    /// there need not wake it, and goes on until it has issued all that it can. On a single
    /// processor that is 1,800 of 16,900 instructions of a read, 32 at a time. Where there
    /// is no other task it takes next to nothing.
    ///
    /// But others may be in no hurry to give the processor back: if a command has waited
    /// for long there is no rest for many times as long, so that little is lost that way.
    fn may_rest(&self, waiting: &RequestList<LoopDevice>, taken: Nanos) -> bool {
        let waited = waiting.first().map_or(0, |queued| taken.since(queued.came));
        if waited > REST_LATE_NANOS {
            let pause = waited.saturating_mul(PAUSE).min(MOST_PAUSE_NANOS);
            self.restless_until.set(taken.after(pause));
        }
        // Swap is what others wait for in order to go on.
        waiting.len() > 1
            && !matches!(self.whose, Whose::Swap)
            && !self.restless_until.get().is_after(taken)
    }

    /// Executes those of `waiting`, or begins to read, and executes the first of those that
    /// were begun. `taken` is when the worker took them. Sleeps.
    fn execute_some(
        &self,
        waiting: &mut RequestList<LoopDevice>,
        reading: &mut RequestList<LoopDevice>,
        taken: Nanos,
    ) {
        while let Some(cmd) = LoopCmd::next_of(waiting, taken) {
            let is_last = waiting.is_empty();
            let alone = is_last && reading.is_empty();
            let expected = BATCH.min(1 + waiting.len());
            let mut begin_some = |cmd| self.begin_some(cmd, waiting, reading, taken);
            let not_begun = match cmd.can_begin(alone) {
                true if is_last => begin_some(cmd),
                true => plugged(self.stats.unplugging(), expected, || begin_some(cmd)),
                false => Some(cmd),
            };
            if let Some(cmd) = not_begun {
                cmd.execute(&self.stats);
                self.execute_first(reading);
            }
            task::cond_resched();
        }
        // One at a time, so that none of them waits for what comes meanwhile, nor
        // that for all of them.
        self.execute_first(reading);
    }

    /// Executes the first command that the file has begun to read. Sleeps.
    fn execute_first(&self, reading: &mut RequestList<LoopDevice>) {
        if let Some(cmd) = LoopCmd::again(reading) {
            cmd.execute(&self.stats);
        }
    }

    /// Begins `first` and those that wait, up to as many as make a batch. Stops at one that
    /// cannot be begun, and returns that. Sleeps.
    fn begin_some(
        &self,
        first: LoopCmd,
        waiting: &mut RequestList<LoopDevice>,
        reading: &mut RequestList<LoopDevice>,
        taken: Nanos,
    ) -> Option<LoopCmd> {
        let mut cmd = first;
        for left in (0..BATCH).rev() {
            match cmd.begin(&self.stats) {
                Begun::Done => (),
                Begun::Reading(cmd) => cmd.wait_in(reading),
                Begun::Not(cmd) => return Some(cmd),
            }
            if left == 0 {
                break;
            }
            cmd = LoopCmd::next_of(waiting, taken)?;
            if !cmd.can_begin(waiting.is_empty() && reading.is_empty()) {
                return Some(cmd);
            }
        }
        None
    }
}
