// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/workers`: to see the workers at work.
//!
//! One line for the rootcg queue, one for each worker, and the number of
//! commands that fell back to the rootcg queue:
//!
//! ```text
//! css      queued  running  completed  idle_ms  cgroup
//! rootcg        0        0        118        -  /
//! 42            3        1       9012        -  /build
//! 57            0        0        640     1204  /backup
//! fallbacks 0
//! ```

use super::{
    LoopWorker,
    WorkerSet, //
};
use crate::abstractions::{
    cgroup::BlkcgCss,
    debugfs::{
        Show,
        ShowVTable, //
    },
    module::THIS_MODULE,
    timer::{
        self,
        DeferrableTimer, //
    },
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    },
};

/// What the file prints. It outlives the device's disk, not its workers.
pub(crate) struct Report {
    set: Arc<DeferrableTimer<WorkerSet>>,
    root: Arc<LoopWorker>,
}

/// One line, as it was at one moment.
struct Line {
    css: ARef<BlkcgCss>,
    queued: u32,
    running: u32,
    completed: u64,
    idle_ms: Option<u32>,
}

impl Report {
    pub(super) fn new(set: Arc<DeferrableTimer<WorkerSet>>, root: Arc<LoopWorker>) -> Self {
        Self { set, root }
    }

    /// Takes a picture of all workers, to be printed outside the work lock.
    fn lines(&self) -> Result<KVec<Line>> {
        let mut lines = KVec::new();
        loop {
            let inner = self.set.inner.lock();
            let workers = inner.tree.values().count();
            if workers <= lines.capacity() {
                let now = timer::jiffies();
                for worker in inner.tree.values() {
                    let Some(css) = &worker.work.css else {
                        continue;
                    };
                    let idle = now.wrapping_sub(worker.cmds.idle_since);
                    let line = Line {
                        css: css.clone(),
                        queued: worker.cmds.queued,
                        running: worker.cmds.running,
                        completed: worker.work.completed.load(Relaxed),
                        idle_ms: (!worker.cmds.scheduled).then(|| timer::jiffies_to_msecs(idle)),
                    };
                    if lines.push_within_capacity(line).is_err() {
                        break;
                    }
                }
                return Ok(lines);
            }
            drop(inner);
            lines.reserve(workers, GFP_KERNEL)?;
        }
    }
}

impl Show for Report {
    const VTABLE: &'static ShowVTable<Self> = {
        static VTABLE: ShowVTable<Report> = ShowVTable::new(&THIS_MODULE);
        &VTABLE
    };

    fn show(&self, out: &SeqFile) -> Result {
        let lines = self.lines()?;
        let (queued, running, fallbacks) = {
            let inner = self.set.inner.lock();
            (inner.root.queued, inner.root.running, inner.fallbacks)
        };
        let completed = self.root.completed.load(Relaxed);

        seq_print!(
            out,
            "css      queued  running  completed  idle_ms  cgroup\n"
        );
        seq_print!(
            out,
            "rootcg {queued:>8} {running:>8} {completed:>10}        -  /\n"
        );
        let mut path = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        for line in &lines {
            let Line {
                queued,
                running,
                completed,
                ..
            } = line;
            seq_print!(
                out,
                "{:<6} {queued:>8} {running:>8} {completed:>10}",
                line.css.id()
            );
            match line.idle_ms {
                Some(ms) => seq_print!(out, " {ms:>8}"),
                None => seq_print!(out, "        -"),
            }
            match line.css.path(&mut path) {
                Ok(path) => seq_print!(out, "  {path}\n"),
                Err(_) => seq_print!(out, "  ?\n"),
            }
        }
        seq_print!(out, "fallbacks {fallbacks}\n");
        Ok(())
    }
}
