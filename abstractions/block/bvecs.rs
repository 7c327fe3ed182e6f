// SPDX-License-Identifier: GPL-2.0

//! The memory of a request, as something that a file can be read into or
//! written from.
//!
//! A request is a chain of bios, each with a table of segments, of which the
//! bio may cover only a part: a bio that was split begins in the middle of a
//! segment. [`Segments`] walks all of that and hands it out in parts. The most
//! common request has one bio: that is one part, and its segments are taken where
//! they are. Those of several bios are gathered in a [`PartSpace`] on the stack, so
//! that a transfer needs no allocation, whatever the shape of the request.
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

/// In which direction the memory of a request is transferred.
pub(crate) trait Direction {
    /// `ITER_SOURCE` or `ITER_DEST`.
    const RAW: u32;
}

/// The memory of a write, which a file takes data from.
pub(crate) enum Source {}

/// The memory of a read, which a file puts data into.
pub(crate) enum Dest {}

impl Direction for Source {
    const RAW: u32 = bindings::ITER_SOURCE;
}

impl Direction for Dest {
    const RAW: u32 = bindings::ITER_DEST;
}

/// Segments that are gathered for one part: 512 bytes of stack, and 128 KiB of data at
/// the least if the segments are whole pages.
const SEGMENTS_PER_PART: usize = 32;

/// Room for the segments of a part.
pub(crate) struct PartSpace([MaybeUninit<bindings::bio_vec>; SEGMENTS_PER_PART]);

impl PartSpace {
    /// Returns room with nothing in it.
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); SEGMENTS_PER_PART])
    }
}

/// A walk over the segments of one request.
///
/// # Invariants
///
/// `bio` is null or a bio of a request that stays as it is for `'a`, and `iter`
/// is a valid position within it. The request transfers in direction `D`.
pub(crate) struct Segments<'a, D: Direction> {
    bio: *mut bindings::bio,
    iter: bindings::bvec_iter,
    _p: PhantomData<(&'a (), D)>,
}

impl<'a, D: Direction> Segments<'a, D> {
    /// # Safety
    ///
    /// `bio` must be null or the first of the bios of a request that transfers in direction
    /// `D`, and the request must be neither advanced nor ended during `'a`.
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

    /// Returns whether what is left begins with the last bio, all of it.
    fn is_one_bio(&self) -> bool {
        if self.bio.is_null() {
            return false;
        }
        // SAFETY: By the type invariant `bio` is valid if it is not null.
        let (next, size) = unsafe { ((*self.bio).bi_next, (*self.bio).bi_iter.bi_size) };
        next.is_null() && size == self.iter.bi_size
    }

    /// Returns an iterator over the next part of the request, or `None` after the last.
    /// `space` is for its segments, should they have to be gathered.
    pub(crate) fn next_part<'s>(&'s mut self, space: &'s mut PartSpace) -> Option<BvecIter<'s, D>> {
        let inner = Opaque::<bindings::iov_iter>::uninit();
        if self.is_one_bio() {
            // SAFETY: There is a bio, and it stays for `'a`.
            let iter = unsafe { bio_iter(self.bio, D::RAW) };
            // SAFETY: `inner` is valid for writes.
            unsafe { inner.get().write(iter) };
            self.bio = core::ptr::null_mut();
        } else {
            let (mut nr, mut bytes) = (0, 0);
            for slot in &mut space.0 {
                let Some(vec) = self.next_segment() else {
                    break;
                };
                nr += 1;
                bytes += vec.bv_len as usize;
                slot.write(vec);
            }
            if nr == 0 {
                return None;
            }
            // SAFETY: `inner` is valid for writes; there are `nr` segments of `bytes`
            // bytes, which stay while `space` is borrowed.
            unsafe {
                bindings::iov_iter_bvec(inner.get(), D::RAW, space.0.as_ptr().cast(), nr, bytes)
            };
        }
        // INVARIANT: Initialised above, over memory that is there, and borrowed, for as
        // long as the iterator lives.
        Some(BvecIter {
            inner,
            _p: PhantomData,
        })
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

/// Returns an iterator over the memory of one bio, whose segments are taken where they
/// are.
///
/// # Safety
///
/// `bio` must be valid and have segments. The iterator must not be used after the bio has
/// been advanced or completed.
pub(super) unsafe fn bio_iter(bio: *const bindings::bio, direction: u32) -> bindings::iov_iter {
    let mut iter = bindings::iov_iter::default();
    // SAFETY: The caller guarantees that `bio` is valid, so that its position is within
    // its table, which has the segments that are counted.
    unsafe {
        let pos = (*bio).bi_iter;
        let table = (*bio).bi_io_vec.add(pos.bi_idx as usize);
        let done = bindings::rust_loop_helper_bio_segment_done(bio);
        let nr = match (*table).bv_len - done >= pos.bi_size {
            true => 1,
            false => bindings::rust_loop_helper_bio_nr_bvec(bio) as usize,
        };
        bindings::iov_iter_bvec(&mut iter, direction, table, nr, pos.bi_size as usize);
        iter.iov_offset = done as usize;
    }
    iter
}

/// A position in the memory of a part of a request, moved on by what is transferred
/// (`struct iov_iter`).
///
/// # Invariants
///
/// `inner` is initialised, its `data_source` is that of `D`, and the segments it goes over
/// live for `'a`. They are memory that may be transferred in that direction.
pub(crate) struct BvecIter<'a, D: Direction> {
    inner: Opaque<bindings::iov_iter>,
    _p: PhantomData<(&'a mut (), D)>,
}

/// Segments of [`Zeroes`]: 256 bytes of stack, and 64 KiB of data.
const SEGMENTS_OF_ZEROES: usize = 16;

/// Zeroes, as memory that a file can be written from: the zero page of the kernel, as often
/// as there are segments.
///
/// # Invariants
///
/// Each segment is the whole zero page.
pub(crate) struct Zeroes([bindings::bio_vec; SEGMENTS_OF_ZEROES]);

impl Zeroes {
    /// Returns zeroes.
    pub(crate) fn new() -> Self {
        // INVARIANT: The zero page is one page.
        Self(core::array::from_fn(|_| bindings::bio_vec {
            // SAFETY: The zero page is there as long as the kernel is.
            bv_page: unsafe { bindings::rust_loop_helper_zero_page() },
            bv_len: PAGE_SIZE as u32,
            bv_offset: 0,
        }))
    }

    /// Returns an iterator over `bytes` zeroes, or over all that there are if they are fewer.
    pub(crate) fn part(&self, bytes: usize) -> BvecIter<'_, Source> {
        let bytes = bytes.min(self.0.len() * PAGE_SIZE);
        let inner = Opaque::<bindings::iov_iter>::uninit();
        // SAFETY: `inner` is valid for writes. By the type invariant the segments have at
        // least `bytes` bytes; they stay while `self` is borrowed.
        unsafe {
            bindings::iov_iter_bvec(
                inner.get(),
                Source::RAW,
                self.0.as_ptr(),
                bytes.div_ceil(PAGE_SIZE),
                bytes,
            )
        };
        // INVARIANT: Initialised above, as a source, over memory that is there for as long
        // as the iterator lives and that a file may be written from.
        BvecIter {
            inner,
            _p: PhantomData,
        }
    }
}

/// See [`BvecIter::save`].
///
/// # Invariants
///
/// As for [`BvecIter`].
pub(crate) struct SavedIter<'a, D: Direction>(
    MaybeUninit<bindings::iov_iter>,
    PhantomData<(&'a mut (), D)>,
);

impl<'a, D: Direction> BvecIter<'a, D> {
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

    /// Returns the position, to come back to.
    pub(crate) fn save(&self) -> SavedIter<'a, D> {
        // INVARIANT: By the type invariant of the iterator, which is plain data.
        //
        // SAFETY: `inner` is valid for reads.
        let inner = unsafe { self.inner.get().cast::<MaybeUninit<_>>().read() };
        SavedIter(inner, PhantomData)
    }

    /// Comes back to a position of an iterator over memory that lives as long, mostly of
    /// this one: for when a transfer has failed but moved the iterator.
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

    /// Moves on by `bytes` bytes, but not beyond the end.
    pub(crate) fn advance(&mut self, bytes: usize) {
        // SAFETY: By the type invariant the iterator is initialised; it is not moved
        // beyond its own count.
        unsafe { bindings::iov_iter_advance(self.inner.get(), bytes.min(self.len())) };
    }
}

impl<'a> BvecIter<'a, Source> {
    /// Returns the iterator for [`BackingFile::write`](crate::abstractions::fs::BackingFile::write).
    pub(crate) fn as_source(&mut self) -> &mut IovIterSource<'a> {
        // SAFETY: The representation is transparent. By the type invariant this is a
        // valid source for `'a`.
        unsafe { &mut *self.inner.get().cast() }
    }
}

impl<'a> BvecIter<'a, Dest> {
    /// Returns the iterator for [`BackingFile::read`](crate::abstractions::fs::BackingFile::read).
    pub(crate) fn as_dest(&mut self) -> &mut IovIterDest<'a> {
        // SAFETY: The representation is transparent. By the type invariant this is a
        // valid destination for `'a`.
        unsafe { &mut *self.inner.get().cast() }
    }

    /// Fills the rest with zeroes, if there is any.
    pub(crate) fn zero_rest(&mut self) {
        if self.len() == 0 {
            return;
        }
        // SAFETY: By the type invariant the iterator is initialised and a destination; it
        // does not go beyond its own count.
        unsafe { bindings::iov_iter_zero(self.len(), self.inner.get()) };
    }
}
