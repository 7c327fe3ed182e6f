// SPDX-License-Identifier: GPL-2.0

//! The memory of a request, as source or destination of file I/O.
//!
//! A request is a chain of bios. Each bio has a table of bvecs, of which it may cover only a part:
//! a bio that was split may begin in the middle of a bvec. [`BvecChunks`] walks the chain and
//! returns it in chunks.
//!
//! The most common request has a single bio. It is one chunk, and its bvecs are used in place. The
//! bvecs of several bios are gathered in a [`BvecBuf`] on the stack. File I/O therefore needs no
//! allocation, whatever the shape of the request.
//!
//! C headers: [`include/linux/bvec.h`](srctree/include/linux/bvec.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use crate::abstractions::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit, //
};
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    page::PAGE_SIZE,
    types::Opaque, //
};

/// Direction in which the memory of a request is transferred.
pub(crate) trait Direction {
    /// `ITER_SOURCE` or `ITER_DEST`.
    const RAW: u32;
}

/// Direction of a write: data moves from the memory to a file.
pub(crate) enum Source {}

/// Direction of a read: data moves from a file to the memory.
pub(crate) enum Dest {}

impl Direction for Source {
    const RAW: u32 = bindings::ITER_SOURCE;
}

impl Direction for Dest {
    const RAW: u32 = bindings::ITER_DEST;
}

/// Number of bvecs that are gathered for one chunk. They take 512 bytes of stack, and cover at least
/// 128 KiB of data if they are whole pages.
const BVECS_PER_CHUNK: usize = 32;

/// Room for the bvecs of a chunk.
pub(crate) struct BvecBuf([MaybeUninit<bindings::bio_vec>; BVECS_PER_CHUNK]);

impl BvecBuf {
    /// Returns uninitialised room.
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); BVECS_PER_CHUNK])
    }
}

/// A walk over the bvecs of one request.
///
/// # Invariants
///
/// - `bio` is null or a bio of a request that does not change during `'a`, and `iter` is a valid
///   position within it.
/// - The request transfers data in direction `D`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     block::bvecs::{
///         Dest,
///         BvecBuf,
///         BvecChunks, //
///     },
///     fs::{
///         kiocb::RwOptions,
///         BackingFile, //
///     },
/// };
/// use kernel::prelude::*;
///
/// /// Reads a file into the memory of a request, and zeroes the rest.
/// fn read(file: &BackingFile, mut pos: u64, mut bvecs: BvecChunks<'_, Dest>) -> Result {
///     let mut space = BvecBuf::new();
///     while let Some(mut iter) = bvecs.next_chunk(&mut space) {
///         pos += file.read(pos, iter.as_dest(), RwOptions::default())? as u64;
///         iter.zero_remaining();
///     }
///     Ok(())
/// }
/// ```
pub(crate) struct BvecChunks<'a, D: Direction> {
    bio: *mut bindings::bio,
    iter: bindings::bvec_iter,
    _p: PhantomData<(&'a (), D)>,
}

impl<'a, D: Direction> BvecChunks<'a, D> {
    /// Starts a walk.
    ///
    /// # Safety
    ///
    /// `bio` must be null or the first bio of a request that transfers data in direction `D`. The
    /// request must be neither advanced nor ended during `'a`.
    pub(super) unsafe fn new(bio: *mut bindings::bio) -> Self {
        // INVARIANT: The iterator of a bio is a valid position within it.
        Self {
            bio,
            iter: if bio.is_null() {
                Default::default()
            } else {
                // SAFETY: By the caller's promise `bio` is valid.
                unsafe { (*bio).bi_iter }
            },
            _p: PhantomData,
        }
    }

    /// Returns whether exactly one whole bio remains.
    fn is_one_bio(&self) -> bool {
        if self.bio.is_null() {
            return false;
        }
        // SAFETY: By the type invariant `bio` is valid if it is not null.
        let (next, size) = unsafe { ((*self.bio).bi_next, (*self.bio).bi_iter.bi_size) };
        next.is_null() && size == self.iter.bi_size
    }

    /// Returns an iterator over the next chunk of the request, or `None` after the last one.
    /// `space` is for bvecs that have to be gathered.
    pub(crate) fn next_chunk<'s>(&'s mut self, space: &'s mut BvecBuf) -> Option<BvecIter<'s, D>> {
        let inner = Opaque::<bindings::iov_iter>::uninit();
        if self.is_one_bio() {
            // SAFETY: By the type invariant the bio is valid during `'a`.
            let iter = unsafe { bio_iter(self.bio, D::RAW) };
            // SAFETY: `inner` is valid for writes.
            unsafe { inner.get().write(iter) };
            self.bio = core::ptr::null_mut();
        } else {
            let (mut nr, mut bytes) = (0, 0);
            for slot in &mut space.0 {
                let Some(vec) = self.next_bvec() else {
                    break;
                };
                nr += 1;
                bytes += vec.bv_len as usize;
                slot.write(vec);
            }
            if nr == 0 {
                return None;
            }
            // SAFETY: `inner` is valid for writes. There are `nr` bvecs of `bytes` bytes, which
            // stay while `space` is borrowed.
            unsafe {
                bindings::iov_iter_bvec(inner.get(), D::RAW, space.0.as_ptr().cast(), nr, bytes)
            };
        }
        // INVARIANT: The iterator was initialised above. Its bvecs are borrowed while it lives.
        Some(BvecIter {
            inner,
            _p: PhantomData,
        })
    }

    /// Writes the next `nr` bvecs, or all if there are fewer, to `vecs`.
    ///
    /// # Safety
    ///
    /// `vecs` must be valid for writes of `nr` bvecs.
    pub(super) unsafe fn copy_to(mut self, vecs: *mut bindings::bio_vec, nr: usize) {
        for i in 0..nr {
            let Some(vec) = self.next_bvec() else {
                break;
            };
            // SAFETY: By the caller's promise `vecs` is valid for this write.
            unsafe { vecs.add(i).write(vec) };
        }
    }

    fn next_bvec(&mut self) -> Option<bindings::bio_vec> {
        while !self.bio.is_null() {
            if self.iter.bi_size != 0 {
                let mut vec = bindings::bio_vec::default();
                // SAFETY: By the type invariant `iter` is a position within `bio`. It is not at
                // the end.
                unsafe {
                    bindings::rust_loop_helper_mp_bvec_iter_bvec(self.bio, &self.iter, &mut vec);
                }
                // INVARIANT: The position advances to the end of the current bvec.
                //
                // SAFETY: As above; `vec` is the rest of the current bvec.
                unsafe {
                    bindings::rust_loop_helper_bio_advance_iter_single(
                        self.bio,
                        &mut self.iter,
                        vec.bv_len,
                    );
                }
                return Some(vec);
            }
            // INVARIANT: This is the next bio of the request, or null.
            //
            // SAFETY: By the type invariant `bio` is valid.
            self.bio = unsafe { (*self.bio).bi_next };
            if !self.bio.is_null() {
                // INVARIANT: The iterator of a bio is a valid position within it.
                //
                // SAFETY: All bios of the request are valid.
                self.iter = unsafe { (*self.bio).bi_iter };
            }
        }
        None
    }
}

/// Returns an iterator over the memory of one bio, whose bvecs are used in place.
///
/// # Safety
///
/// `bio` must be valid and have bvecs. The iterator must not be used after the bio has been
/// advanced or completed.
pub(super) unsafe fn bio_iter(bio: *const bindings::bio, direction: u32) -> bindings::iov_iter {
    // SAFETY: By the caller's promise `bio` is valid.
    let (pos, table) = unsafe { ((*bio).bi_iter, (*bio).bi_io_vec) };
    // SAFETY: The position of a bio is within its table.
    let table = unsafe { table.add(pos.bi_idx as usize) };
    // SAFETY: By the caller's promise `bio` is valid and has bvecs.
    let done = unsafe { bindings::rust_loop_helper_bio_bvec_done(bio) };
    // SAFETY: As above, there is a bvec at the position.
    let nr = if unsafe { (*table).bv_len } - done >= pos.bi_size {
        1
    } else {
        // SAFETY: As above.
        unsafe { bindings::rust_loop_helper_bio_nr_bvec(bio) as usize }
    };
    let mut iter = bindings::iov_iter::default();
    // SAFETY: The table has `nr` bvecs from the position on.
    unsafe { bindings::iov_iter_bvec(&mut iter, direction, table, nr, pos.bi_size as usize) };
    iter.iov_offset = done as usize;
    iter
}

/// A position in a chunk of the memory of a request, which file I/O advances
/// ([`struct iov_iter`](srctree/include/linux/uio.h)).
///
/// # Invariants
///
/// - `inner` is initialised, and its `data_source` is that of `D`.
/// - Its bvecs live for `'a`, and their memory may be transferred in direction `D`.
pub(crate) struct BvecIter<'a, D: Direction> {
    inner: Opaque<bindings::iov_iter>,
    _p: PhantomData<(&'a mut (), D)>,
}

/// Number of bvecs of [`Zeroes`]. They take 256 bytes of stack, and cover 16 pages of data.
const ZERO_BVECS: usize = 16;

/// Zeroes as the source of a write. Each bvec refers to the zero page of the kernel.
///
/// # Invariants
///
/// Each bvec is the whole zero page.
pub(crate) struct Zeroes([bindings::bio_vec; ZERO_BVECS]);

impl Zeroes {
    /// Returns zeroes.
    pub(crate) fn new() -> Self {
        // INVARIANT: The zero page has `PAGE_SIZE` bytes.
        Self(core::array::from_fn(|_| bindings::bio_vec {
            // SAFETY: The zero page lives as long as the kernel.
            bv_page: unsafe { bindings::rust_loop_helper_zero_page() },
            bv_len: PAGE_SIZE as u32,
            bv_offset: 0,
        }))
    }

    /// Returns an iterator over `bytes` zeroes, or over all of them if there are fewer.
    pub(crate) fn chunk(&self, bytes: usize) -> BvecIter<'_, Source> {
        let bytes = bytes.min(self.0.len() * PAGE_SIZE);
        let inner = Opaque::<bindings::iov_iter>::uninit();
        // SAFETY: `inner` is valid for writes. By the type invariant the bvecs have at least
        // `bytes` bytes, and they stay while `self` is borrowed.
        unsafe {
            bindings::iov_iter_bvec(
                inner.get(),
                Source::RAW,
                self.0.as_ptr(),
                bytes.div_ceil(PAGE_SIZE),
                bytes,
            )
        };
        // INVARIANT: The iterator was initialised above, as a source. Its bvecs are borrowed while
        // it lives, and the zero page may be read.
        BvecIter {
            inner,
            _p: PhantomData,
        }
    }
}

/// Position saved by [`BvecIter::save`].
///
/// # Invariants
///
/// As for [`BvecIter`].
pub(crate) struct SavedIter<'a, D: Direction>(
    MaybeUninit<bindings::iov_iter>,
    PhantomData<(&'a mut (), D)>,
);

impl<'a, D: Direction> BvecIter<'a, D> {
    /// Returns the number of bytes that remain.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariant the iterator is initialised.
        unsafe {
            (*self.inner.get())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }

    /// Returns the position, for [`Self::restore`].
    pub(crate) fn save(&self) -> SavedIter<'a, D> {
        // INVARIANT: By the type invariant of the iterator, whose value is plain data.
        //
        // SAFETY: `inner` is valid for reads.
        let inner = unsafe { self.inner.get().cast::<MaybeUninit<_>>().read() };
        SavedIter(inner, PhantomData)
    }

    /// Returns to a saved position, after I/O that has failed but advanced the iterator. The
    /// position may be that of another iterator with the same lifetime and direction.
    pub(crate) fn restore(&mut self, saved: &SavedIter<'a, D>) {
        // INVARIANT: By the type invariant of `SavedIter`.
        //
        // SAFETY: `inner` is valid for writes, and `saved` for reads.
        unsafe {
            self.inner
                .get()
                .copy_from_nonoverlapping(saved.0.as_ptr(), 1)
        };
    }

    /// Advances by `bytes` bytes, but not beyond the end.
    pub(crate) fn advance(&mut self, bytes: usize) {
        // SAFETY: By the type invariant the iterator is initialised. It is not advanced beyond its
        // end.
        unsafe { bindings::iov_iter_advance(self.inner.get(), bytes.min(self.len())) };
    }
}

impl<'a> BvecIter<'a, Source> {
    /// Returns the iterator for [`BackingFile::write`](crate::abstractions::fs::BackingFile::write).
    pub(crate) fn as_source(&mut self) -> &mut IovIterSource<'a> {
        // SAFETY: The representation is transparent. By the type invariant this is a valid source
        // for `'a`.
        unsafe { &mut *self.inner.get().cast() }
    }
}

impl<'a> BvecIter<'a, Dest> {
    /// Returns the iterator for [`BackingFile::read`](crate::abstractions::fs::BackingFile::read).
    pub(crate) fn as_dest(&mut self) -> &mut IovIterDest<'a> {
        // SAFETY: The representation is transparent. By the type invariant this is a valid
        // destination for `'a`.
        unsafe { &mut *self.inner.get().cast() }
    }

    /// Zeroes the remaining bytes, if there are any.
    pub(crate) fn zero_remaining(&mut self) {
        if self.len() == 0 {
            return;
        }
        // SAFETY: By the type invariant the iterator is initialised and a destination. It is not
        // advanced beyond its end.
        unsafe { bindings::iov_iter_zero(self.len(), self.inner.get()) };
    }
}
