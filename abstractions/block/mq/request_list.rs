// SPDX-License-Identifier: GPL-2.0

//! Lists of requests, linked through the memory behind them.

use super::request::{
    Operations,
    PduVariant,
    RawRequest,
    Request, //
};
use core::ptr::NonNull;

/// Requests that wait, first in first out. Queueing a request never allocates.
///
/// # Invariants
///
/// `head` starts a chain of `len` requests through the [`Link`] in the scratch area of each,
/// which ends at `tail`. The list owns each of them, as [`Request`] does.
pub(crate) struct RequestList<T: Operations> {
    head: Option<RawRequest<T>>,
    tail: Option<RawRequest<T>>,
    len: u32,
}

/// The link from a request in a list to the next one.
struct Link<T: Operations>(Option<RawRequest<T>>);

// SAFETY: A pointer need not be dropped.
unsafe impl<T: Operations> PduVariant for Link<T> {}

// SAFETY: The list owns its requests, and `Request` is `Send`.
unsafe impl<T: Operations> Send for RequestList<T> {}
// SAFETY: A reference to the list gives references to driver data only, which are `Sync`.
unsafe impl<T: Operations> Sync for RequestList<T> {}

impl<T: Operations> RequestList<T> {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
            len: 0,
        }
    }

    /// Returns the number of requests.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Returns whether there is no request.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Returns the driver's data of the first request.
    pub(crate) fn first(&self) -> Option<&T::RequestData> {
        // SAFETY: By the type invariant the list owns `head`, so its data are initialised. The
        // request stays in the list while that is borrowed.
        self.head.map(|rq| unsafe { rq.data().as_ref() })
    }

    /// Moves all requests into another list.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Appends a request. Any context.
    pub(crate) fn push_back(&mut self, rq: Request<T>) {
        let rq = rq.into_raw();
        let link: NonNull<Link<T>> = rq.scratch();
        // INVARIANT: The request moves from its handle into the list.
        //
        // SAFETY: The request was ours, so its scratch area is, too.
        unsafe { link.write(Link(None)) };
        self.len += 1;
        match self.tail.replace(rq) {
            None => self.head = Some(rq),
            // SAFETY: By the type invariant `tail` is in this list, with a link that is ours.
            Some(tail) => unsafe { tail.scratch::<Link<T>>().write(Link(Some(rq))) },
        }
    }

    /// Takes out the first request. Any context.
    pub(crate) fn pop_front(&mut self) -> Option<Request<T>> {
        let rq = self.head?;
        // SAFETY: By the type invariant the request is in this list, so it has a link.
        let Link(next) = unsafe { rq.scratch::<Link<T>>().read() };
        self.len -= 1;
        self.head = next;
        if next.is_none() {
            self.tail = None;
        }
        // INVARIANT: The request has left the list.
        //
        // SAFETY: The list owned it.
        Some(unsafe { Request::from_raw(rq) })
    }
}

impl<T: Operations> Drop for RequestList<T> {
    /// Fails the requests that are still waiting.
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}
