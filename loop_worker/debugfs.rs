// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/rust_loop/rloopN/workers` and `summary`.
//!
//! `workers` has one line for the rootcg and swap workers together, one for the worker of each
//! cgroup, and the number of commands that fell back to the rootcg worker:
//!
//! ```text
//! css      queued  running  pending  completed   read_kib  written_kib  errors  wait_ms  run_ms  idle_ms  charged  cgroup
//! rootcg        0        0        0        118        472            0       0        1       9        -  /  /
//! 42            3        1       14       9012          0       576768       0     3120    4410        -  /build  /build
//! 57            0        0        0        640       2560            0       0       12     230     1204  /  /backup
//! fallbacks 0
//! ```
//!
//! `summary` has the sums over all workers, freed workers included.
//!
//! A cgroup has a worker for each hardware queue that it uses. Both files show these as one.

use super::{
    set::{
        Inner,
        LoopWorker,
        WorkerSet, //
    },
    tree::BATCH,
};
use crate::{
    abstractions::{
        cgroup::{
            BlkcgCss,
            CssKey, //
        },
        compat::this_module::this_module,
        debugfs::{
            Show,
            ShowVTable, //
        },
        timer::{
            self,
            Timer, //
        },
    },
    loop_cmd::stats::StatsSnapshot, //
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

/// The source of both files. It outlives the disk of the device, not its workers.
pub(crate) struct Report(KVec<QueueReport>);

/// The workers of one hardware queue.
pub(super) struct QueueReport {
    set: Arc<Timer<WorkerSet>>,
    /// Shown as one with the swap worker.
    rootcg: Arc<LoopWorker>,
    swap: Option<Arc<LoopWorker>>,
}

/// Counts of one or several workers at one moment.
#[derive(Default)]
struct Counts {
    queued: u32,
    running: u32,
    inflight: u32,
    stats: StatsSnapshot,
}

impl Counts {
    /// Adds a worker. Called under the work lock.
    fn add_worker(&mut self, worker: &LoopWorker, inner: &Inner) {
        let queue = worker.queue.access(inner);
        self.add(&Self {
            queued: queue.waiting.len(),
            running: queue.nr_running,
            inflight: worker.group.stats.inflight(),
            stats: worker.group.stats.snapshot(),
        });
    }

    /// Adds the counts of other workers.
    fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.running += other.running;
        self.inflight += other.inflight;
        self.stats.add(&other.stats);
    }
}

/// The workers of one cgroup at one moment.
struct CgroupSnapshot {
    css: ARef<BlkcgCss>,
    counts: Counts,
    /// The time since the cgroup last used a worker. `None` if a worker is in use.
    idle_ms: Option<u32>,
}

impl CgroupSnapshot {
    /// Called under the work lock.
    fn new(worker: &LoopWorker, inner: &Inner) -> Option<Self> {
        let mut counts = Counts::default();
        counts.add_worker(worker, inner);
        let idle_ms = match worker.idle_since(inner) {
            Some(since) if !worker.is_in_use(inner) => Some(timer::jiffies_to_msecs(
                timer::jiffies().wrapping_sub(since),
            )),
            _ => None,
        };
        Some(Self {
            css: worker.css()?.clone(),
            counts,
            idle_ms,
        })
    }

    /// Adds the worker of another hardware queue.
    fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        // `None` is the least.
        self.idle_ms = self.idle_ms.min(other.idle_ms);
    }
}

/// All workers of a device at one moment, and the sums of its hardware queues.
#[derive(Default)]
struct Snapshot {
    /// Sorted by the id of the css.
    cgroups: KVVec<CgroupSnapshot>,
    builtin: Counts,
    freed: StatsSnapshot,
    bound: bool,
    fallbacks: u64,
    percpu: u64,
    percpu_late: u64,
}

impl Report {
    /// Returns a report on the workers of all hardware queues.
    pub(super) fn new(queues: KVec<QueueReport>) -> Self {
        Self(queues)
    }

    /// Takes a snapshot, to be printed without the work locks. May sleep.
    ///
    /// One batch of workers after the other. A worker that is freed after its batch is counted
    /// twice, so the sums of more than a batch are approximate.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        for queue in &self.0 {
            queue.add_to(&mut snapshot)?;
        }
        if let [_, _, ..] = self.0[..] {
            merge_cgroups(&mut snapshot.cgroups);
        }
        Ok(snapshot)
    }
}

impl QueueReport {
    /// Returns a report on the workers of `set`, on `rootcg` and on `swap`.
    pub(super) fn new(
        set: Arc<Timer<WorkerSet>>,
        rootcg: Arc<LoopWorker>,
        swap: Option<Arc<LoopWorker>>,
    ) -> Self {
        Self { set, rootcg, swap }
    }

    /// Adds the workers to a snapshot. The work lock is held for one batch of workers at a time.
    fn add_to(&self, snapshot: &mut Snapshot) -> Result {
        let mut from = Some(CssKey::FIRST);
        while let Some(key) = from {
            snapshot.cgroups.reserve(BATCH, GFP_KERNEL)?;
            from = self.set.inner.with(|inner| {
                for_batch(inner, key, |worker, inner| {
                    if let Some(cgroup) = CgroupSnapshot::new(worker, inner) {
                        // There is room for a batch.
                        let _ = snapshot.cgroups.push_within_capacity(cgroup);
                    }
                })
            });
        }
        self.set.inner.with(|inner| {
            snapshot.builtin.add_worker(&self.rootcg, inner);
            if let Some(swap) = &self.swap {
                snapshot.builtin.add_worker(swap, inner);
            }
            snapshot.freed.add(&inner.freed_stats);
            snapshot.bound = inner.backing.is_some();
            snapshot.fallbacks += inner.fallbacks;
            snapshot.percpu += inner.placement.percpu;
            snapshot.percpu_late += inner.placement.percpu_late;
        });
        Ok(())
    }
}

/// Makes one of the workers of each cgroup, and sorts them.
fn merge_cgroups(cgroups: &mut KVVec<CgroupSnapshot>) {
    cgroups.sort_unstable_by_key(|cgroup| cgroup.css.id());
    let mut nr_merged = 0usize;
    for i in 0..cgroups.len() {
        let (merged, rest) = cgroups.split_at_mut(i);
        let Some(cgroup) = rest.first_mut() else {
            break;
        };
        let last = nr_merged
            .checked_sub(1)
            .and_then(|last| merged.get_mut(last));
        match last {
            Some(last) if last.css.id() == cgroup.css.id() => last.add(cgroup),
            _ => {
                if let Some(slot) = merged.get_mut(nr_merged) {
                    core::mem::swap(slot, cgroup);
                }
                nr_merged += 1;
            }
        }
    }
    cgroups.truncate(nr_merged);
}

/// Calls `f` for the next [`BATCH`] workers of cgroups from `from` on. Returns where to continue,
/// or `None` after the last worker. Called under the work lock.
fn for_batch(
    inner: &Inner,
    from: CssKey,
    mut f: impl FnMut(&LoopWorker, &Inner),
) -> Option<CssKey> {
    let mut next = from;
    for _ in 0..BATCH {
        let (key, worker) = inner.tree.first_from(next)?;
        f(worker, inner);
        next = key.next()?;
    }
    Some(next)
}

impl Show for Report {
    const VTABLE: &'static ShowVTable<Self> = {
        static VTABLE: ShowVTable<Report> = ShowVTable::new(this_module());
        &VTABLE
    };

    fn show(&self, out: &SeqFile) -> Result {
        let Snapshot {
            cgroups,
            builtin,
            fallbacks,
            ..
        } = self.snapshot()?;
        seq_print!(
            out,
            "css      queued  running  pending  completed   read_kib  written_kib  errors  wait_ms  run_ms  idle_ms  charged  cgroup\n"
        );
        seq_print!(out, "rootcg");
        show_counts(out, &builtin);
        seq_print!(out, "        -  /  /\n");
        let mut buf = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        for CgroupSnapshot {
            css,
            counts,
            idle_ms,
        } in &cgroups
        {
            seq_print!(out, "{:<6}", css.id());
            show_counts(out, counts);
            match idle_ms {
                Some(ms) => seq_print!(out, " {ms:>8}"),
                None => seq_print!(out, "        -"),
            }
            match css.memcg() {
                Some(memcg) => show_path(out, memcg.path(&mut buf)),
                None => seq_print!(out, "  -"),
            }
            show_path(out, css.path(&mut buf));
            seq_print!(out, "\n");
        }
        seq_print!(out, "fallbacks {fallbacks}\n");
        Ok(())
    }
}

fn show_counts(out: &SeqFile, counts: &Counts) {
    let Counts {
        queued,
        running,
        inflight,
        stats,
    } = counts;
    let StatsSnapshot {
        completed, errors, ..
    } = stats;
    let (read, written) = (stats.read / 1024, stats.written / 1024);
    let (waiting, executing) = (
        stats.wait_ns / NANOS_PER_MILLI,
        stats.run_ns / NANOS_PER_MILLI,
    );
    seq_print!(
        out,
        " {queued:>8} {running:>8} {inflight:>8} {completed:>10} {read:>10} {written:>12} {errors:>7} {waiting:>8} {executing:>7}"
    );
}

fn show_path(out: &SeqFile, path: Result<&BStr>) {
    match path {
        Ok(path) if !path.is_empty() => seq_print!(out, "  {path}"),
        _ => seq_print!(out, "  ?"),
    }
}

/// The source of the `summary` file.
pub(crate) struct Summary(Arc<Report>);

impl Summary {
    /// Returns the sums over the workers of `report`.
    pub(crate) fn new(report: Arc<Report>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(report), GFP_KERNEL)?)
    }
}

impl Show for Summary {
    const VTABLE: &'static ShowVTable<Self> = {
        static VTABLE: ShowVTable<Summary> = ShowVTable::new(this_module());
        &VTABLE
    };

    fn show(&self, out: &SeqFile) -> Result {
        let Self(report) = self;
        let snapshot = report.snapshot()?;
        let mut counts = snapshot.builtin;
        let (mut workers, mut idle) = (0u32, 0u32);
        for cgroup in &snapshot.cgroups {
            workers += 1;
            idle += u32::from(cgroup.idle_ms.is_some());
            counts.add(&cgroup.counts);
        }
        counts.stats.add(&snapshot.freed);
        let Counts {
            queued,
            running,
            inflight,
            stats,
        } = counts;
        let Snapshot {
            bound,
            fallbacks,
            percpu,
            percpu_late,
            ..
        } = snapshot;
        seq_print!(out, "bound {}\n", u32::from(bound));
        seq_print!(out, "hw_queues {}\n", report.0.len());
        seq_print!(out, "workers {workers}\nidle {idle}\n");
        seq_print!(out, "queued {queued}\nrunning {running}\n");
        seq_print!(out, "pending {inflight}\n");
        seq_print!(
            out,
            "completed {}\nerrors {}\n",
            stats.completed,
            stats.errors
        );
        seq_print!(out, "read {}\nwritten {}\n", stats.read, stats.written);
        seq_print!(out, "wait_ns {}\nrun_ns {}\n", stats.wait_ns, stats.run_ns);
        seq_print!(
            out,
            "deferred {}\nretries {}\n",
            stats.deferred,
            stats.retries
        );
        seq_print!(out, "reserve {}\n", stats.reserve);
        seq_print!(out, "fallbacks {fallbacks}\n");
        seq_print!(out, "percpu {percpu}\npercpu_late {percpu_late}\n");
        Ok(())
    }
}
