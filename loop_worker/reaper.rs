// SPDX-License-Identifier: GPL-2.0

//! Freeing the workers of cgroups.
//!
//! Each worker is in a list by a time, that of its creation at first. The timer of a set visits
//! the worker that expires first. It frees a worker that has not been
//! used since it was listed. It lists another worker again, by the time at which that became
//! idle. So each worker is visited once in `idle_timeout_secs`, and is freed by the first timer
//! after it expires.
//!
//! No callback reports the removal of a cgroup, whose css stays while a worker holds it. So a
//! *sweep* visits all workers every [`SWEEP_INTERVAL_SECS`].
//!
//! Both visit at most [`BATCH`] workers in one hold of the work lock, which has interrupts
//! disabled. The timer expires again at the next jiffy for the others.

use super::{
    set::{
        Inner,
        LoopWorker,
        WorkerSet,
        WorkerState, //
    },
    tree::{
        Freed,
        BATCH, //
    },
};
use crate::{
    abstractions::{
        cgroup::CssKey,
        timer::{
            self,
            Jiffies,
            Jiffies64,
            Timer,
            TimerCallback, //
        },
    },
    idle_timeout_secs,
};

/// The interval between two sweeps, in seconds.
const SWEEP_INTERVAL_SECS: u32 = 2;

/// The longest delay of the timer after a worker has become idle, in seconds. Bounded because the
/// cgroup of the worker may have been removed.
const FIRST_REAP_SECS: u32 = 2;

/// The interval at which the timer visits an expired worker with direct I/O in flight, in
/// seconds. No callback reports the end of the I/O.
const INFLIGHT_SECS: u32 = 2;

/// Arms the timer for a worker that became idle at `now`, or frees the worker at once if the
/// device has been detached or the cgroup removed. Called under the work lock. The caller drops
/// `freed` without the lock.
pub(super) fn worker_idle(
    worker: &LoopWorker,
    inner: &mut Inner,
    now: Jiffies,
    freed: &mut Freed<LoopWorker>,
) {
    let Some(css) = worker.css() else {
        return;
    };
    if (inner.backing.is_none() || css.is_dying()) && !worker.is_in_use(inner) {
        remove(inner, css.key(), freed);
    }
    if !inner.tree.is_empty() {
        let delay = idle_timeout().min(timer::secs_to_jiffies(FIRST_REAP_SECS));
        worker.set.reduce(now.wrapping_add(delay));
    }
}

/// Frees the workers that are not in use among the next [`BATCH`] from `from` on. Returns where
/// to continue, or `None` after the last worker. Any context.
pub(super) fn free_unused_batch(set: &Timer<WorkerSet>, from: CssKey) -> Option<CssKey> {
    let mut freed = Freed::new();
    set.inner
        .with(|inner| remove_batch_if(inner, from, &mut freed, |_| true))
}

fn idle_timeout() -> Jiffies {
    timer::secs_to_jiffies(idle_timeout_secs.get().unsigned_abs())
}

impl TimerCallback for WorkerSet {
    // Freeing memory does not justify waking an idle CPU.
    const DEFERRABLE: bool = true;

    /// Frees workers that have been idle for long enough or whose cgroup has been removed.
    fn expired(this: &Timer<Self>) {
        // Workers are dropped outside the lock.
        let mut freed = Freed::new();
        this.inner.with(|inner| {
            if let Some(next) = reap(inner, idle_timeout(), &mut freed) {
                let delay = next.saturating_sub(timer::jiffies64());
                // A delay that does not fit a `Jiffies` is cut short.
                this.reduce_to(delay.try_into().unwrap_or(Jiffies::MAX / 2));
            }
        });
    }
}

/// Frees expired workers and those of removed cgroups, as far as one hold of the lock allows.
/// Returns when to continue, `None` if there are no workers.
fn reap(inner: &mut Inner, timeout: Jiffies, freed: &mut Freed<LoopWorker>) -> Option<Jiffies64> {
    let now = timer::jiffies64();
    // A worker that is listed again now must not be visited again now.
    let timeout = (timeout as Jiffies64).max(1);
    let next = reap_expired(inner, now, timeout, freed);
    let next = next.min(sweep(inner, now, freed));
    (!inner.tree.is_empty()).then_some(next)
}

/// Frees expired workers. Returns when to continue.
fn reap_expired(
    inner: &mut Inner,
    now: Jiffies64,
    timeout: Jiffies64,
    freed: &mut Freed<LoopWorker>,
) -> Jiffies64 {
    for _ in 0..BATCH {
        let Some((listed, key)) = inner.tree.first_to_expire() else {
            return Jiffies64::MAX;
        };
        let expires = listed.saturating_add(timeout);
        if expires > now {
            return expires;
        }
        let last_use = inner
            .tree
            .get(key)
            .map(|worker| LastUse::of(worker, inner, now));
        match last_use {
            Some(LastUse::Now) => inner.tree.set_listed(key, now),
            Some(LastUse::Inflight) => {
                let wait = timer::secs_to_jiffies(INFLIGHT_SECS) as Jiffies64;
                // It expires at `now + wait`. The time grows, so that the loop makes progress.
                let time = now.saturating_add(wait).saturating_sub(timeout);
                inner.tree.set_listed(key, time.max(listed + 1));
            }
            Some(LastUse::At(time)) if time.saturating_add(timeout) > now => {
                inner.tree.set_listed(key, time)
            }
            Some(LastUse::At(_)) | None => remove(inner, key, freed),
        }
    }
    now + 1
}

/// Frees workers whose cgroup has been removed. Returns when to continue.
fn sweep(inner: &mut Inner, now: Jiffies64, freed: &mut Freed<LoopWorker>) -> Jiffies64 {
    if inner.tree.sweep_from.is_none() {
        if now < inner.tree.next_sweep {
            return inner.tree.next_sweep;
        }
        inner.tree.sweep_from = Some(CssKey::FIRST);
        let interval = timer::secs_to_jiffies(SWEEP_INTERVAL_SECS) as Jiffies64;
        inner.tree.next_sweep = now.saturating_add(interval);
    }
    if let Some(from) = inner.tree.sweep_from {
        inner.tree.sweep_from = remove_batch_if(inner, from, freed, |worker| {
            worker.css().is_some_and(|css| css.is_dying())
        });
    }
    match inner.tree.sweep_from {
        Some(_) => now + 1,
        None => inner.tree.next_sweep,
    }
}

/// Removes those of the next [`BATCH`] workers that are not in use and that `is_wanted` selects.
/// Returns where to continue.
fn remove_batch_if(
    inner: &mut Inner,
    from: CssKey,
    freed: &mut Freed<LoopWorker>,
    is_wanted: impl Fn(&LoopWorker) -> bool,
) -> Option<CssKey> {
    let mut next = from;
    for _ in 0..BATCH {
        let (key, worker) = inner.tree.first_from(next)?;
        if !worker.is_in_use(inner) && is_wanted(worker) {
            remove(inner, key, freed);
        }
        next = key.next()?;
    }
    Some(next)
}

/// Moves a worker that is not in use from the tree to `freed`.
fn remove(inner: &mut Inner, key: CssKey, freed: &mut Freed<LoopWorker>) {
    let Some(worker) = inner.tree.get(key).cloned() else {
        return;
    };
    inner.tree.remove(key, freed);
    inner.freed_stats.add(&worker.group.stats.snapshot());
    // Not the last reference: `freed` has one.
    worker.queue.access_mut(inner).state = WorkerState::Freed;
}

/// The last use of a worker.
enum LastUse {
    /// The worker is scheduled or executing.
    Now,
    /// The worker is idle, but direct I/O is in flight.
    Inflight,
    /// The worker has been idle since this time.
    At(Jiffies64),
}

impl LastUse {
    fn of(worker: &LoopWorker, inner: &Inner, now: Jiffies64) -> Self {
        match worker.idle_since(inner) {
            None => Self::Now,
            Some(_) if worker.group.stats.inflight() > 0 => Self::Inflight,
            Some(since) => {
                // Unsigned and wrapping, as jiffies are.
                let idle = timer::jiffies().wrapping_sub(since);
                Self::At(now.saturating_sub(idle as Jiffies64))
            }
        }
    }
}
