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
        RBTreeNodeReservation, //
    },
    sync::Arc, //
};

/// The number of workers that are visited in one hold of the work lock. 64 of them take about
/// 10 us.
pub(super) const BATCH: usize = 64;

/// The workers of cgroups, by css and by time of expiry. Protected by the work lock.
///
/// # Invariants
///
/// `expiry` has one entry for each worker in `workers`, with the time `listed` of the worker.
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

/// A worker that is not in the tree yet, with the memory that the tree needs for it. Made without
/// the work lock.
pub(super) struct NewEntry<W> {
    worker: Arc<W>,
    worker_node: RBTreeNodeReservation<CssKey, Entry<W>>,
    expiry_node: RBTreeNodeReservation<(Jiffies64, CssKey), ()>,
}

impl<W> NewEntry<W> {
    /// Any context, does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(worker: Arc<W>) -> Result<Self> {
        Ok(Self {
            worker,
            worker_node: RBTreeNodeReservation::new(GFP_NOWAIT)?,
            expiry_node: RBTreeNodeReservation::new(GFP_NOWAIT)?,
        })
    }
}

/// Workers that have left the tree, with the memory that it had for them, to be dropped without
/// the work lock.
pub(super) struct Freed<W> {
    workers: RBTree<CssKey, Entry<W>>,
    expiry: RBTree<(Jiffies64, CssKey), ()>,
}

impl<W> Freed<W> {
    pub(super) fn new() -> Self {
        Self {
            workers: RBTree::new(),
            expiry: RBTree::new(),
        }
    }
}

impl<W> WorkerTree<W> {
    pub(super) fn new() -> Self {
        Self {
            workers: RBTree::new(),
            expiry: RBTree::new(),
            sweep_from: None,
            next_sweep: 0,
        }
    }

    /// Returns the worker of a css. If the css has none, takes `new` into the tree, which must be
    /// for this css. `None` if `new` is.
    pub(super) fn get_or_insert(
        &mut self,
        key: CssKey,
        new: &mut Option<NewEntry<W>>,
    ) -> Option<&Arc<W>> {
        match self.workers.entry(key) {
            rbtree::Entry::Occupied(entry) => Some(&entry.into_mut().worker),
            rbtree::Entry::Vacant(entry) => {
                let NewEntry {
                    worker,
                    worker_node,
                    expiry_node,
                } = new.take()?;
                let listed = timer::jiffies64();
                // INVARIANT: The worker is in `workers` and in `expiry`.
                self.expiry.insert(expiry_node.into_node((listed, key), ()));
                Some(&entry.insert(Entry { worker, listed }, worker_node).worker)
            }
        }
    }

    /// Returns the worker of a css, if it has one.
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

    /// Returns the worker that expires first, with its time in the list.
    pub(super) fn first_to_expire(&self) -> Option<(Jiffies64, CssKey)> {
        self.expiry.keys().next().copied()
    }

    /// Returns whether the tree is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Removes all workers.
    pub(super) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Changes the time of a worker in the list.
    pub(super) fn set_listed(&mut self, key: CssKey, time: Jiffies64) {
        let Some(entry) = self.workers.get_mut(&key) else {
            return;
        };
        let Some(node) = self.expiry.remove_node(&(entry.listed, key)) else {
            return;
        };
        // INVARIANT: Both entries have the same time again.
        entry.listed = time;
        self.expiry
            .insert(node.into_reservation().into_node((time, key), ()));
    }

    /// Moves a worker from the tree to `freed`.
    pub(super) fn remove(&mut self, key: CssKey, freed: &mut Freed<W>) {
        let Some(node) = self.workers.remove_node(&key) else {
            return;
        };
        freed.workers.insert(node);
        let Some(entry) = freed.workers.get(&key) else {
            return;
        };
        // INVARIANT: The worker is neither in `workers` nor in `expiry`.
        if let Some(node) = self.expiry.remove_node(&(entry.listed, key)) {
            freed.expiry.insert(node);
        }
    }
}
