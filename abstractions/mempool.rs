// SPDX-License-Identifier: GPL-2.0

//! Memory pools.
//!
//! C header: [`include/linux/mempool.h`](srctree/include/linux/mempool.h)

use super::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// A pool of memory for one `T` at a time
/// ([`mempool_t`](srctree/include/linux/mempool.h)).
///
/// Some elements are set aside for times when the system has no memory.
///
/// # Invariants
///
/// The pointer is to a live pool that we own. Its elements are `kmalloc` memory that fits a `T`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::mempool::MemPool;
/// use kernel::prelude::*;
///
/// /// Creates a pool with two 4 KiB buffers in reserve.
/// fn buffers() -> Result<MemPool<[u8; 4096]>> {
///     MemPool::new(2)
/// }
/// ```
pub(crate) struct MemPool<T> {
    pool: NonNull<bindings::mempool>,
    _p: PhantomData<fn() -> T>,
}

// SAFETY: A pool may be used and destroyed from any thread.
unsafe impl<T> Send for MemPool<T> {}
// SAFETY: The pool itself serialises allocating and freeing.
unsafe impl<T> Sync for MemPool<T> {}

impl<T> MemPool<T> {
    /// `kmalloc` aligns memory whose size is a power of two to its size. Other sizes have a weaker
    /// alignment.
    const IS_ALIGNED: () =
        assert!(size_of::<T>().is_power_of_two() && align_of::<T>() <= size_of::<T>());

    /// Creates a pool that sets aside `reserve` elements. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(reserve: u32) -> Result<Self> {
        let () = Self::IS_ALIGNED;
        // SAFETY: The functions are those for `kmalloc` memory, which take the size as their data.
        let pool = unsafe {
            bindings::mempool_create_node_noprof(
                reserve.try_into()?,
                Some(bindings::mempool_kmalloc),
                Some(bindings::mempool_kfree),
                core::ptr::without_provenance_mut(size_of::<T>()),
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
            )
        };
        // INVARIANT: The pool was just created, with elements of this size.
        Ok(Self {
            pool: NonNull::new(pool).ok_or(ENOMEM)?,
            _p: PhantomData,
        })
    }

    /// Takes an element without waiting for one (`mempool_alloc()` with `GFP_NOWAIT`). Any context.
    pub(super) fn alloc(&self) -> Option<NonNull<MaybeUninit<T>>> {
        // SAFETY: By the type invariant the pool is live.
        let element =
            unsafe { bindings::mempool_alloc_noprof(self.pool.as_ptr(), bindings::GFP_NOWAIT) };
        NonNull::new(element.cast())
    }

    /// Gives an element back (`mempool_free()`). Any context.
    ///
    /// # Safety
    ///
    /// `element` must come from [`Self::alloc`] of a pool of the same type, and must not be used
    /// any more.
    pub(super) unsafe fn free(&self, element: NonNull<MaybeUninit<T>>) {
        // SAFETY: By the type invariant the pool is live. By the caller's promise the element is
        // unused. Elements of all pools of one type are alike.
        unsafe { bindings::mempool_free(element.as_ptr().cast(), self.pool.as_ptr()) };
    }
}

impl<T> Drop for MemPool<T> {
    /// Frees the elements in reserve. Elements in use would leak, so a user of an element holds a
    /// reference to the pool.
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the pool.
        unsafe { bindings::mempool_destroy(self.pool.as_ptr()) };
    }
}
