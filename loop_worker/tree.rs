// SPDX-License-Identifier: GPL-2.0

//! The workers of cgroups: finding one by its css, and freeing those that are idle.
//!
//! Next to the tree css -> worker there is a list of all workers in order of *expiry*, the
//! time from which each is to be freed if it has not been used since. Using a worker does not
//! touch the list. The timer looks at the first of it only: a worker that has been used is
//! listed again, by the time at which it became idle; one that has not is freed. So each
//! worker is looked at once in `idle_timeout_secs`, and freed by the first timer after it
//! expires.
//!
//! No callback tells of a cgroup that has been removed, and its css stays while a worker
//! holds it. So a *sweep* looks at all workers every [`SWEEP_EVERY_SECS`].
//!
//! Neither looks at more than [`BATCH`] workers in one hold of the work lock, which has
//! interrupts disabled: the timer expires again at the next jiffy for the rest.

use super::{
    CmdQueue,
    CssWorker,
    LoopWorker, //
};
use crate::{
    abstractions::{
        cgroup::{
            BlkcgCss,
            CssKey, //
        },
        timer::{
            self,
            Jiffies,
            Jiffies64, //
        },
    },
    loop_cmd::stats::Totals,
};
use kernel::{
    prelude::*,
    rbtree::{
        self,
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
    sync::Arc, //
};

/// How many workers are looked at in one hold of the work lock. 64 of them take about 10 us.
pub(super) const BATCH: usize = 64;

/// How often all workers are looked at for cgroups that have been removed, in seconds.
const SWEEP_EVERY_SECS: u32 = 2;

/// How long a worker for which the backing file has something pending stays after it has
/// expired, in seconds: no callback tells of the end.
const PENDING_SECS: u32 = 2;

/// Workers that have left the tree, to be dropped without the work lock.
pub(super) type Freed = RBTree<CssKey, CssWorker>;

/// See the head of this file. Protected by the work lock.
///
/// # Invariants
///
/// There is one entry in `expiry` for each worker in `workers`, and its time is the `listed`
/// of that worker.
pub(super) struct WorkerTree {
    workers: RBTree<CssKey, CssWorker>,
    /// Ordered by the time when the worker was created or found to have become idle.
    expiry: RBTree<(Jiffies64, CssKey), ()>,
    /// The work that freed workers had done.
    freed: Totals,
    /// Where the sweep that is under way goes on.
    sweep_from: Option<CssKey>,
    /// When the next sweep begins.
    next_sweep: Jiffies64,
}

impl WorkerTree {
    pub(super) fn new() -> Self {
        Self {
            workers: RBTree::new(),
            expiry: RBTree::new(),
            freed: Totals::default(),
            sweep_from: None,
            next_sweep: 0,
        }
    }

    /// Returns the worker of `css`, which `make` creates if there is none. `None` if there is
    /// no memory for that: it does not wait for memory. Any context.
    pub(super) fn get_or_create(
        &mut self,
        css: &BlkcgCss,
        make: impl FnOnce() -> Result<Arc<LoopWorker>>,
    ) -> Option<&mut CssWorker> {
        let key = css.key();
        match self.workers.entry(key) {
            rbtree::Entry::Occupied(entry) => Some(entry.into_mut()),
            rbtree::Entry::Vacant(entry) => {
                let node = RBTreeNodeReservation::new(GFP_NOWAIT).ok()?;
                let listed = timer::jiffies64();
                let expiry = RBTreeNode::new((listed, key), (), GFP_NOWAIT).ok()?;
                let worker = CssWorker {
                    cmds: CmdQueue::new(),
                    work: make().ok()?,
                    listed,
                };
                // INVARIANT: Both have it from now on.
                self.expiry.insert(expiry);
                Some(entry.insert(worker, node))
            }
        }
    }

    /// Returns the worker of `css`.
    pub(super) fn get_mut(&mut self, css: &BlkcgCss) -> Option<&mut CssWorker> {
        self.workers.get_mut(&css.key())
    }

    /// Returns whether there is no worker.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Returns the work that freed workers had done.
    pub(super) fn freed(&self) -> &Totals {
        &self.freed
    }

    /// Calls `f` for up to [`BATCH`] workers from `from` on. Returns where to go on, or `None`
    /// after the last one.
    pub(super) fn for_batch(
        &mut self,
        from: CssKey,
        mut f: impl FnMut(&CssWorker),
    ) -> Option<CssKey> {
        let mut cursor = self.workers.cursor_lower_bound_mut(&from);
        for _ in 0..BATCH {
            let at = cursor?;
            f(at.current().1);
            cursor = at.move_next();
        }
        cursor.map(|at| *at.current().0)
    }

    /// Takes the worker of `css` out of the tree if it is not in use.
    pub(super) fn remove_unused(&mut self, css: &BlkcgCss, freed: &mut Freed) {
        let key = css.key();
        if self
            .workers
            .get(&key)
            .is_some_and(|worker| !worker.is_in_use())
        {
            self.remove(key, freed);
        }
    }

    /// Takes up to [`BATCH`] workers that are not in use out of the tree, from `from` on.
    /// Returns where to go on, or `None` after the last one.
    pub(super) fn remove_batch(&mut self, from: CssKey, freed: &mut Freed) -> Option<CssKey> {
        self.remove_batch_if(from, freed, |_| true)
    }

    /// Takes all workers out.
    pub(super) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Frees workers that have expired, and those whose cgroup has been removed, as far as
    /// one hold of the lock allows. `timeout` is the time after which an idle worker expires.
    /// Returns when to look again, `None` if there are no workers.
    pub(super) fn reap(&mut self, timeout: Jiffies, freed: &mut Freed) -> Option<Jiffies64> {
        let now = timer::jiffies64();
        // A worker that is listed again now is not looked at again now.
        let timeout = (timeout as Jiffies64).max(1);
        let again = self.reap_expired(now, timeout, freed);
        let again = again.min(self.sweep(now, freed));
        (!self.is_empty()).then_some(again)
    }

    /// Frees the workers that have expired. Returns when to look again.
    fn reap_expired(&mut self, now: Jiffies64, timeout: Jiffies64, freed: &mut Freed) -> Jiffies64 {
        for _ in 0..BATCH {
            let Some(&(listed, key)) = self.expiry.keys().next() else {
                return Jiffies64::MAX;
            };
            let expires = listed.saturating_add(timeout);
            if expires > now {
                return expires;
            }
            match self.workers.get(&key).map(|worker| worker.last_used(now)) {
                Some(LastUsed::Now) => self.list(key, now),
                Some(LastUsed::Pending) => {
                    let wait = timer::secs_to_jiffies(PENDING_SECS) as Jiffies64;
                    self.list(
                        key,
                        now.saturating_add(wait)
                            .saturating_sub(timeout)
                            .max(listed + 1),
                    );
                }
                Some(LastUsed::At(then)) if then.saturating_add(timeout) > now => {
                    self.list(key, then)
                }
                Some(LastUsed::At(_)) | None => self.remove(key, freed),
            }
        }
        now + 1
    }

    /// Frees workers whose cgroup has been removed. Returns when to go on.
    fn sweep(&mut self, now: Jiffies64, freed: &mut Freed) -> Jiffies64 {
        if self.sweep_from.is_none() {
            if now < self.next_sweep {
                return self.next_sweep;
            }
            self.sweep_from = Some(CssKey::FIRST);
            let interval = timer::secs_to_jiffies(SWEEP_EVERY_SECS) as Jiffies64;
            self.next_sweep = now.saturating_add(interval);
        }
        if let Some(from) = self.sweep_from {
            self.sweep_from = self.remove_batch_if(from, freed, |work| work.is_dying());
        }
        match self.sweep_from {
            Some(_) => now + 1,
            None => self.next_sweep,
        }
    }

    fn remove_batch_if(
        &mut self,
        from: CssKey,
        freed: &mut Freed,
        is_wanted: impl Fn(&LoopWorker) -> bool,
    ) -> Option<CssKey> {
        let mut next = from;
        for _ in 0..BATCH {
            let (key, is_freed) = {
                let at = self.workers.cursor_lower_bound(&next)?;
                let (&key, worker) = at.current();
                (key, !worker.is_in_use() && is_wanted(&worker.work))
            };
            if is_freed {
                self.remove(key, freed);
            }
            next = key.next()?;
        }
        Some(next)
    }

    /// Lists a worker by another time.
    fn list(&mut self, key: CssKey, time: Jiffies64) {
        let Some(worker) = self.workers.get_mut(&key) else {
            return;
        };
        let Some(node) = self.expiry.remove_node(&(worker.listed, key)) else {
            return;
        };
        // INVARIANT: The entry and the worker say the same.
        worker.listed = time;
        self.expiry
            .insert(node.into_reservation().into_node((time, key), ()));
    }

    /// Moves a worker from the tree to `freed`.
    fn remove(&mut self, key: CssKey, freed: &mut Freed) {
        let Some(node) = self.workers.remove_node(&key) else {
            return;
        };
        freed.insert(node);
        if let Some(worker) = freed.get(&key) {
            // INVARIANT: Neither has it from now on.
            self.expiry.remove(&(worker.listed, key));
            self.freed.add(&worker.work.stats.totals());
        }
    }
}

/// When a worker was used last.
enum LastUsed {
    /// It is in use.
    Now,
    /// It is idle, but the backing file has something pending for it.
    Pending,
    /// It has been idle since.
    At(Jiffies64),
}

impl CssWorker {
    fn last_used(&self, now: Jiffies64) -> LastUsed {
        if self.cmds.scheduled {
            return LastUsed::Now;
        }
        if self.is_in_use() {
            return LastUsed::Pending;
        }
        // Unsigned and wrapping, as jiffies are.
        let idle = timer::jiffies().wrapping_sub(self.cmds.idle_since);
        LastUsed::At(now.saturating_sub(idle as Jiffies64))
    }
}
