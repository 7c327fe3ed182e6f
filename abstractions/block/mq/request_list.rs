// SPDX-License-Identifier: GPL-2.0

//! Lists of waiting requests.

use super::request::{
    Operations,
    PduVariant,
    RawRequest,
    Request, //
};
use core::ptr::NonNull;

/// Waiting requests, first in first out. Queueing a request never allocates memory.
///
/// # Invariants
///
/// - `head` starts a chain of `len` requests, which ends at `tail`. Each has a [`Link`] to the next
///   one in its scratch area.
/// - The list owns each of them, as [`Request`] does.
///
/// # Examples
///
/// ```
/// use crate::{
///     abstractions::block::mq::{
///         BlkStatus,
///         RequestList, //
///     },
///     loop_cmd::LoopQueue,
/// };
///
/// /// Ends all requests of a list.
/// fn end_all(list: &mut RequestList<LoopQueue>) {
///     while let Some(rq) = list.pop_front() {
///         rq.end(BlkStatus::OK);
///     }
/// }
/// ```
pub(crate) struct RequestList<T: Operations> {
    head: Option<RawRequest<T>>,
    tail: Option<RawRequest<T>>,
    len: u32,
}

/// Link from a request in a list to the next one.
struct Link<T: Operations>(Option<RawRequest<T>>);

// SAFETY: A pointer does not need to be dropped.
unsafe impl<T: Operations> PduVariant for Link<T> {}

// SAFETY: The list owns its requests, and `Request` is `Send`.
unsafe impl<T: Operations> Send for RequestList<T> {}
// SAFETY: A shared reference gives access to driver data only, which are `Sync`.
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

    /// Returns whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Returns the driver's data of the first request.
    pub(crate) fn first(&self) -> Option<&T::RequestData> {
        // SAFETY: By the type invariant the list owns `head`, so its data are initialised. The
        // request stays in the list while that is borrowed.
        self.head.map(|rq| unsafe { rq.data().as_ref() })
    }

    /// Moves all requests to a new list.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Appends a request. Any context.
    pub(crate) fn push_back(&mut self, rq: Request<T>) {
        let rq = rq.into_raw();
        let link: NonNull<Link<T>> = rq.scratch();
        // INVARIANT: The request moves from its handle into the list.
        //
        // SAFETY: The request was ours, and so is its scratch area.
        unsafe { link.write(Link(None)) };
        self.len += 1;
        match self.tail.replace(rq) {
            None => self.head = Some(rq),
            // SAFETY: By the type invariant `tail` is in this list, with a link that is ours.
            Some(tail) => unsafe { tail.scratch::<Link<T>>().write(Link(Some(rq))) },
        }
    }

    /// Removes the first request. Any context.
    pub(crate) fn pop_front(&mut self) -> Option<Request<T>> {
        let rq = self.head?;
        // SAFETY: By the type invariant the request has a link in its scratch area.
        let Link(next) = unsafe { rq.scratch::<Link<T>>().read() };
        self.len -= 1;
        self.head = next;
        if next.is_none() {
            self.tail = None;
        }
        // INVARIANT: The request has left the list.
        //
        // SAFETY: By the type invariant the list owned the request.
        Some(unsafe { Request::from_raw(rq) })
    }
}

impl<T: Operations> Drop for RequestList<T> {
    /// Fails the requests in the list.
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}
