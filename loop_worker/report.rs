// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/workers`: to see the workers at work.
//!
//! One line for the rootcg and swap queues together, one for each worker, and the
//! number of commands that fell back to the rootcg queue:
//!
//! ```text
//! css      queued  running  pending  completed   read_kib  written_kib  errors  wait_ms  run_ms  idle_ms  charged  cgroup
//! rootcg        0        0        0        118        472            0       0        1       9        -  /  /
//! 42            3        1       14       9012          0       576768       0     3120    4410        -  /build  /build
//! 57            0        0        0        640       2560            0       0       12     230     1204  /  /backup
//! fallbacks 0
//! ```
//!
//! `summary`, beside it, has the sums of that over all workers, those that have
//! been freed included.

use super::{
    tree,
    CssWorker,
    LoopWorker,
    WorkerSet, //
};
use crate::{
    abstractions::{
        cgroup::{
            BlkcgCss,
            CssKey, //
        },
        debugfs::{
            Show,
            ShowVTable, //
        },
        module::THIS_MODULE,
        timer::{
            self,
            Timer, //
        },
    },
    loop_cmd::stats::Totals,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    str::BStr,
    sync::{
        aref::ARef,
        Arc, //
    },
};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the file prints. It outlives the device's disk, not its workers.
pub(crate) struct Report {
    set: Arc<Timer<WorkerSet>>,
    /// The workers of the rootcg queue and of the swap queue. They are told as one: who
    /// looks for workers looks for those of cgroups.
    always: [Arc<LoopWorker>; 2],
}

/// One line, as it was at one moment.
struct Line {
    css: ARef<BlkcgCss>,
    queued: u32,
    running: u32,
    pending: u32,
    totals: Totals,
    idle_ms: Option<u32>,
}

impl Report {
    /// Returns a report on the workers of `set`, and on those that `always` are: that of
    /// the root cgroup, and that which writes swap.
    pub(super) fn new(set: Arc<Timer<WorkerSet>>, always: [&Arc<LoopWorker>; 2]) -> Self {
        let always = always.map(Arc::clone);
        Self { set, always }
    }

    /// Returns what the backing file has of the workers that always are, and what they have
    /// done.
    fn always(&self) -> (u32, Totals) {
        let (mut pending, mut totals) = (0, Totals::default());
        for worker in &self.always {
            pending += worker.stats.pending();
            totals.add(&worker.stats.totals());
        }
        (pending, totals)
    }

    /// Takes a picture of all workers, to be printed outside the work lock. That is held for
    /// one batch of workers at a time.
    fn lines(&self) -> Result<KVec<Line>> {
        let mut lines = KVec::new();
        let mut from = Some(CssKey::FIRST);
        while let Some(key) = from {
            lines.reserve(tree::BATCH, GFP_KERNEL)?;
            from = self.set.inner.with(|inner| {
                inner.tree.for_batch(key, |worker| {
                    if let Some(line) = Line::new(worker) {
                        // There is room for a batch.
                        let _ = lines.push_within_capacity(line);
                    }
                })
            });
        }
        Ok(lines)
    }
}

impl Line {
    /// Describes a worker as it is now. Any context.
    fn new(worker: &CssWorker) -> Option<Self> {
        let idle = timer::jiffies().wrapping_sub(worker.cmds.idle_since);
        Some(Self {
            css: worker.work.whose.css()?.clone(),
            queued: worker.cmds.waiting.len(),
            running: worker.cmds.running,
            pending: worker.work.stats.pending(),
            totals: worker.work.stats.totals(),
            idle_ms: (!worker.is_in_use()).then(|| timer::jiffies_to_msecs(idle)),
        })
    }
}

impl Show for Report {
    const VTABLE: &'static ShowVTable<Self> = {
        static VTABLE: ShowVTable<Report> = ShowVTable::new(&THIS_MODULE);
        &VTABLE
    };

    fn show(&self, out: &SeqFile) -> Result {
        let lines = self.lines()?;
        let (pending, totals) = self.always();
        let (queued, running, fallbacks) = self.set.inner.with(|inner| {
            (
                inner.root.waiting.len() + inner.swap.waiting.len(),
                inner.root.running + inner.swap.running,
                inner.fallbacks,
            )
        });
        seq_print!(
            out,
            "css      queued  running  pending  completed   read_kib  written_kib  errors  wait_ms  run_ms  idle_ms  charged  cgroup\n"
        );
        seq_print!(out, "rootcg");
        show_counts(out, queued, running, pending, &totals);
        seq_print!(out, "        -  /  /\n");
        let mut buf = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        for line in &lines {
            seq_print!(out, "{:<6}", line.css.id());
            show_counts(out, line.queued, line.running, line.pending, &line.totals);
            match line.idle_ms {
                Some(ms) => seq_print!(out, " {ms:>8}"),
                None => seq_print!(out, "        -"),
            }
            match line
                .css
                .memcg()
                .map(|memcg| show_path(out, memcg.path(&mut buf)))
            {
                Some(()) => (),
                None => seq_print!(out, "  -"),
            }
            show_path(out, line.css.path(&mut buf));
            seq_print!(out, "\n");
        }
        seq_print!(out, "fallbacks {fallbacks}\n");
        Ok(())
    }
}

fn show_counts(out: &SeqFile, queued: u32, running: u32, pending: u32, totals: &Totals) {
    let Totals {
        completed, errors, ..
    } = totals;
    let (read, written) = (totals.read / 1024, totals.written / 1024);
    let (waiting, executing) = (
        totals.wait_ns / NANOS_PER_MILLI,
        totals.run_ns / NANOS_PER_MILLI,
    );
    seq_print!(
        out,
        " {queued:>8} {running:>8} {pending:>8} {completed:>10} {read:>10} {written:>12} {errors:>7} {waiting:>8} {executing:>7}"
    );
}

fn show_path(out: &SeqFile, path: Result<&BStr>) {
    match path {
        Ok(path) if !path.is_empty() => seq_print!(out, "  {path}"),
        _ => seq_print!(out, "  ?"),
    }
}

/// What the `summary` file prints.
pub(crate) struct Summary(Arc<Report>);

impl Summary {
    /// Sums up what `report` has line by line.
    pub(crate) fn new(report: Arc<Report>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(report), GFP_KERNEL)?)
    }
}

impl Show for Summary {
    const VTABLE: &'static ShowVTable<Self> = {
        static VTABLE: ShowVTable<Summary> = ShowVTable::new(&THIS_MODULE);
        &VTABLE
    };

    fn show(&self, out: &SeqFile) -> Result {
        let (mut pending, mut totals) = self.0.always();
        let (mut workers, mut idle) = (0u32, 0u32);
        let (mut queued, mut running) = (0, 0);
        let (bound, fallbacks, nearby, moved) = self.0.set.inner.with(|inner| {
            queued = inner.root.waiting.len() + inner.swap.waiting.len();
            running = inner.root.running + inner.swap.running;
            (
                inner.backing.is_some(),
                inner.fallbacks,
                inner.dispatch.nearby,
                inner.dispatch.moved,
            )
        });
        // One batch at a time. A worker that is freed after its batch is counted twice, so
        // of more than a batch the sums are of about now.
        let mut from = Some(CssKey::FIRST);
        while let Some(key) = from {
            from = self.0.set.inner.with(|inner| {
                let from = inner.tree.for_batch(key, |worker| {
                    workers += 1;
                    idle += u32::from(!worker.is_in_use());
                    pending += worker.work.stats.pending();
                    queued += worker.cmds.waiting.len();
                    running += worker.cmds.running;
                    totals.add(&worker.work.stats.totals());
                });
                if from.is_none() {
                    totals.add(inner.tree.freed());
                }
                from
            });
        }
        seq_print!(out, "bound {}\n", u32::from(bound));
        seq_print!(out, "workers {workers}\nidle {idle}\n");
        seq_print!(
            out,
            "queued {queued}\nrunning {running}\npending {pending}\n"
        );
        seq_print!(
            out,
            "completed {}\nerrors {}\n",
            totals.completed,
            totals.errors
        );
        seq_print!(out, "read {}\nwritten {}\n", totals.read, totals.written);
        seq_print!(
            out,
            "wait_ns {}\nrun_ns {}\n",
            totals.wait_ns,
            totals.run_ns
        );
        seq_print!(
            out,
            "deferred {}\nretries {}\nreserve {}\n",
            totals.deferred,
            totals.retries,
            totals.reserve
        );
        seq_print!(out, "fallbacks {fallbacks}\n");
        seq_print!(out, "nearby {nearby}\nmoved {moved}\n");
        Ok(())
    }
}
