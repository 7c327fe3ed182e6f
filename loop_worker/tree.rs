// SPDX-License-Identifier: GPL-2.0

//! The map from css to worker, with a list of the workers in order of expiry.
//!
//! The list has one entry for each worker, by the time when the worker was created or was found
//! to have become idle. Using a worker does not touch the list, see [`super::reaper`].

use crate::abstractions::{
    cgroup::CssKey,
    timer::{
        self,
        Jiffies64, //
    },
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

/// The number of workers that are visited in one hold of the work lock. 64 of them take about
/// 10 us.
pub(super) const BATCH: usize = 64;

/// See the head of this file. Protected by the work lock.
///
/// # Invariants
///
/// There is one entry in `expiry` for each worker in `workers`, and its time is the `listed`
/// of that worker.
pub(super) struct WorkerTree<W> {
    workers: RBTree<CssKey, Entry<W>>,
    expiry: RBTree<(Jiffies64, CssKey), ()>,
    /// The first worker that the current sweep has not visited.
    pub(super) sweep_from: Option<CssKey>,
    /// When the next sweep begins.
    pub(super) next_sweep: Jiffies64,
}

/// A worker in the tree. It holds its css, which keeps the key unique.
pub(super) struct Entry<W> {
    worker: Arc<W>,
    listed: Jiffies64,
}

/// Workers that have left the tree, to be dropped without the work lock.
pub(super) type Freed<W> = RBTree<CssKey, Entry<W>>;

impl<W> WorkerTree<W> {
    pub(super) fn new() -> Self {
        Self {
            workers: RBTree::new(),
            expiry: RBTree::new(),
            sweep_from: None,
            next_sweep: 0,
        }
    }

    /// Returns the worker of a css, which `create` creates if there is none. `None` if there is
    /// no memory for that: it does not wait for memory. Any context.
    pub(super) fn get_or_create(
        &mut self,
        key: CssKey,
        create: impl FnOnce() -> Result<Arc<W>>,
    ) -> Option<&Arc<W>> {
        match self.workers.entry(key) {
            rbtree::Entry::Occupied(entry) => Some(&entry.into_mut().worker),
            rbtree::Entry::Vacant(entry) => {
                let node = RBTreeNodeReservation::new(GFP_NOWAIT).ok()?;
                let listed = timer::jiffies64();
                let expiry = RBTreeNode::new((listed, key), (), GFP_NOWAIT).ok()?;
                let worker = create().ok()?;
                // INVARIANT: Both have the worker from now on.
                self.expiry.insert(expiry);
                Some(&entry.insert(Entry { worker, listed }, node).worker)
            }
        }
    }

    /// Returns a worker.
    pub(super) fn get(&self, key: CssKey) -> Option<&Arc<W>> {
        self.workers.get(&key).map(|entry| &entry.worker)
    }

    /// Returns the first worker with a key of `from` or more.
    pub(super) fn first_from(&self, from: CssKey) -> Option<(CssKey, &Arc<W>)> {
        let cursor = self.workers.cursor_lower_bound(&from)?;
        // The cursor is a temporary, so the entry is looked up again.
        let key = *cursor.current().0;
        Some((key, self.get(key)?))
    }

    /// Returns the worker that expires first, with the time by which it is listed.
    pub(super) fn first_listed(&self) -> Option<(Jiffies64, CssKey)> {
        self.expiry.keys().next().copied()
    }

    /// Returns whether there is no worker.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Takes all workers out.
    pub(super) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Lists a worker by another time.
    pub(super) fn list(&mut self, key: CssKey, time: Jiffies64) {
        let Some(entry) = self.workers.get_mut(&key) else {
            return;
        };
        let Some(node) = self.expiry.remove_node(&(entry.listed, key)) else {
            return;
        };
        // INVARIANT: The entries have the same time.
        entry.listed = time;
        self.expiry
            .insert(node.into_reservation().into_node((time, key), ()));
    }

    /// Moves a worker from the tree to `freed`.
    pub(super) fn remove(&mut self, key: CssKey, freed: &mut Freed<W>) {
        let Some(node) = self.workers.remove_node(&key) else {
            return;
        };
        freed.insert(node);
        if let Some(entry) = freed.get(&key) {
            // INVARIANT: Neither has the worker from now on.
            self.expiry.remove(&(entry.listed, key));
        }
    }
}
