// SPDX-License-Identifier: GPL-2.0

//! The memory of a request, as something that a file can be read into or
//! written from.
//!
//! A request is a chain of bios, each with a table of segments, of which the
//! bio may cover only a part: a bio that was split begins in the middle of a
//! segment. [`Segments`] walks all of that and hands it out in [`Chunk`]s of a
//! bounded number of segments, which live on the stack, so that a transfer
//! needs no allocation, whatever the shape of the request.
//!
//! C headers: [`include/linux/bvec.h`](srctree/include/linux/bvec.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::super::bindings;
use core::{
    marker::PhantomData,
    mem::MaybeUninit, //
};
use kernel::types::Opaque;

/// Segments per [`Chunk`]: 512 bytes of stack, and 128 KiB of data at the least
/// if the segments are whole pages.
const SEGMENTS_PER_CHUNK: usize = 32;

/// A walk over the segments of one request.
///
/// # Invariants
///
/// `bio` is null or a bio of a request that stays as it is for `'a`, and `iter`
/// is a valid position within it.
pub(crate) struct Segments<'a> {
    bio: *mut bindings::bio,
    iter: bindings::bvec_iter,
    _p: PhantomData<&'a ()>,
}

impl<'a> Segments<'a> {
    /// # Safety
    ///
    /// `bio` must be null or the first of a request's bios, and the request must
    /// be neither advanced nor ended during `'a`.
    pub(super) unsafe fn new(bio: *mut bindings::bio) -> Self {
        // INVARIANT: A bio's own iterator is a valid position within it.
        Self {
            bio,
            iter: if bio.is_null() {
                Default::default()
            } else {
                // SAFETY: The caller guarantees that `bio` is valid.
                unsafe { (*bio).bi_iter }
            },
            _p: PhantomData,
        }
    }

    /// Returns the next segments of the request, or `None` after the last.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk<'a>> {
        let mut chunk = Chunk {
            vecs: [bindings::bio_vec::default(); SEGMENTS_PER_CHUNK],
            nr: 0,
            bytes: 0,
            _p: PhantomData,
        };
        for slot in &mut chunk.vecs {
            let Some(vec) = self.next_segment() else {
                break;
            };
            chunk.nr += 1;
            chunk.bytes += vec.bv_len as usize;
            *slot = vec;
        }
        (chunk.nr != 0).then_some(chunk)
    }

    /// Writes the next `nr` segments, or all if there are fewer, to `vecs`.
    ///
    /// # Safety
    ///
    /// `vecs` must be valid for writes of `nr` segments.
    pub(super) unsafe fn copy_to(mut self, vecs: *mut bindings::bio_vec, nr: usize) {
        for i in 0..nr {
            let Some(vec) = self.next_segment() else {
                break;
            };
            // SAFETY: By the caller's promise there is room.
            unsafe { vecs.add(i).write(vec) };
        }
    }

    fn next_segment(&mut self) -> Option<bindings::bio_vec> {
        while !self.bio.is_null() {
            if self.iter.bi_size != 0 {
                let mut vec = bindings::bio_vec::default();
                // INVARIANT: The position is moved by what is left of the
                // segment it is in.
                //
                // SAFETY: By the type invariant `iter` is a position within
                // `bio`, and it is not at the end.
                unsafe {
                    bindings::rust_loop_helper_mp_bvec_iter_bvec(self.bio, &self.iter, &mut vec);
                    bindings::rust_loop_helper_bio_advance_iter_single(
                        self.bio,
                        &mut self.iter,
                        vec.bv_len,
                    );
                }
                return Some(vec);
            }
            // INVARIANT: The next bio of the request, at its beginning.
            //
            // SAFETY: By the type invariant `bio` is valid, and so is the one it
            // is chained to.
            unsafe {
                self.bio = (*self.bio).bi_next;
                if !self.bio.is_null() {
                    self.iter = (*self.bio).bi_iter;
                }
            }
        }
        None
    }
}

/// Some consecutive segments of a request.
///
/// # Invariants
///
/// The first `nr` of `vecs` are segments, `bytes` long together, of a request
/// that stays as it is for `'a`.
pub(crate) struct Chunk<'a> {
    vecs: [bindings::bio_vec; SEGMENTS_PER_CHUNK],
    nr: usize,
    bytes: usize,
    _p: PhantomData<&'a ()>,
}

impl Chunk<'_> {
    /// Returns an iterator for reading into the segments.
    pub(crate) fn dest(&mut self) -> BvecIter<'_> {
        self.iter(bindings::ITER_DEST)
    }

    /// Returns an iterator for writing from the segments.
    pub(crate) fn source(&mut self) -> BvecIter<'_> {
        self.iter(bindings::ITER_SOURCE)
    }

    fn iter(&mut self, direction: u32) -> BvecIter<'_> {
        let inner = Opaque::uninit();
        // INVARIANT: Initialised here, over memory that is borrowed for as long
        // as the iterator lives.
        //
        // SAFETY: `inner` is valid for writes; by the type invariant there are
        // `nr` segments of `bytes` bytes.
        unsafe {
            bindings::iov_iter_bvec(
                inner.get(),
                direction,
                self.vecs.as_ptr(),
                self.nr,
                self.bytes,
            )
        };
        BvecIter {
            inner,
            _p: PhantomData,
        }
    }
}

/// A position in the memory of a [`Chunk`], moved on by what is transferred
/// (`struct iov_iter`).
///
/// # Invariants
///
/// `inner` is initialised, and the segments it goes over live for `'a`.
pub(crate) struct BvecIter<'a> {
    inner: Opaque<bindings::iov_iter>,
    _p: PhantomData<&'a mut ()>,
}

/// See [`BvecIter::save`].
///
/// # Invariants
///
/// Initialised as a `struct iov_iter` whose segments live for `'a`.
pub(crate) struct SavedIter<'a>(MaybeUninit<bindings::iov_iter>, PhantomData<&'a mut ()>);

impl<'a> BvecIter<'a> {
    /// Returns how many bytes are left to transfer.
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

    /// Fills the rest with zeroes. For reading only.
    pub(crate) fn zero_rest(&mut self) {
        // SAFETY: By the type invariant the iterator is initialised; it does
        // not go beyond its own count.
        unsafe { bindings::iov_iter_zero(self.len(), self.inner.get()) };
    }

    /// Returns the position, to come back to.
    pub(crate) fn save(&self) -> SavedIter<'a> {
        // INVARIANT: By the type invariant of the iterator, which is plain data.
        //
        // SAFETY: `inner` is valid for reads.
        let inner = unsafe { self.inner.get().cast::<MaybeUninit<_>>().read() };
        SavedIter(inner, PhantomData)
    }

    /// Comes back to a position, which must be one of this iterator: for when what has
    /// failed may have moved on.
    pub(crate) fn restore(&mut self, saved: &SavedIter<'a>) {
        // INVARIANT: By the type invariant of `SavedIter`.
        //
        // SAFETY: `inner` is valid for writes, and what is copied for reads.
        unsafe {
            self.inner
                .get()
                .copy_from_nonoverlapping(saved.0.as_ptr(), 1)
        };
    }

    pub(in super::super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        self.inner.get()
    }
}
