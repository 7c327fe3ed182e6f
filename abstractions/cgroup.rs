// SPDX-License-Identifier: GPL-2.0

//! Cgroups, as the issuers of block I/O, and charging them.
//!
//! C headers: [`include/linux/cgroup.h`](srctree/include/linux/cgroup.h),
//! [`include/linux/blk-cgroup.h`](srctree/include/linux/blk-cgroup.h)

use super::{
    bindings,
    compat::errno::ENAMETOOLONG, //
};
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    str::BStr,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// The state that the block controller keeps for one cgroup
/// (`struct cgroup_subsys_state` of `io_cgrp_subsys`).
///
/// # Invariants
///
/// A reference to it implies that its reference count is not zero.
#[repr(transparent)]
pub(crate) struct BlkcgCss(Opaque<bindings::cgroup_subsys_state>);

/// The state that the memory controller keeps for one cgroup
/// (`struct cgroup_subsys_state` of `memory_cgrp_subsys`).
///
/// # Invariants
///
/// A reference to it implies that its reference count is not zero.
#[repr(transparent)]
pub(crate) struct MemcgCss(Opaque<bindings::cgroup_subsys_state>);

/// What all css have in common.
macro_rules! css {
    ($name:ident) => {
        // SAFETY: The reference count of a css is a percpu refcount, which may be
        // changed from any context; the last put defers the release to a
        // workqueue.
        unsafe impl AlwaysRefCounted for $name {
            fn inc_ref(&self) {
                // SAFETY: By the type invariant the count is not zero.
                unsafe { bindings::rust_loop_helper_css_get(self.0.get()) };
            }

            /// # Safety
            ///
            /// As the trait says: the caller gives up a reference.
            unsafe fn dec_ref(obj: NonNull<Self>) {
                // SAFETY: The caller gives up a reference that it holds.
                unsafe { bindings::rust_loop_helper_css_put(obj.as_ptr().cast()) };
            }
        }

        // SAFETY: A css may be used from any thread.
        unsafe impl Send for $name {}
        // SAFETY: A css may be used from any thread; what is read here is never
        // changed, or is a flag that may be read at any time.
        unsafe impl Sync for $name {}

        impl $name {
            /// Writes the path of the cgroup, as seen from the root of its
            /// hierarchy, into `buf` and returns it. Any context.
            pub(crate) fn path<'b>(&self, buf: &'b mut [u8]) -> Result<&'b BStr> {
                // SAFETY: By the type invariant the css is alive; `buf` is valid
                // for writes of its length.
                let len = unsafe {
                    bindings::rust_loop_helper_css_path(
                        self.0.get(),
                        buf.as_mut_ptr().cast(),
                        buf.len(),
                    )
                };
                let len = usize::try_from(len).map_err(|_| Error::from_errno(len))?;
                buf.get(..len).map(BStr::from_bytes).ok_or(ENAMETOOLONG)
            }
        }
    };
}

css!(BlkcgCss);
css!(MemcgCss);

/// What identifies a css while somebody holds a reference to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CssKey(usize);

impl CssKey {
    /// The first of all keys, which no css has.
    pub(crate) const FIRST: Self = Self(0);

    /// Returns the key after this one, whether or not a css has it.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl BlkcgCss {
    /// Returns the css to which `bio` is charged, or `None` if there is none or
    /// it is the root's.
    ///
    /// # Safety
    ///
    /// `bio` must be valid and stay so, uncompleted, for `'a`: it is what holds
    /// the css.
    pub(super) unsafe fn of_bio<'a>(bio: NonNull<bindings::bio>) -> Option<&'a Self> {
        // SAFETY: The caller guarantees that `bio` is valid.
        let css = unsafe { bindings::rust_loop_helper_bio_blkcg_css(bio.as_ptr()) };
        let css = NonNull::new(css)?;
        // SAFETY: `css` is not null, hence valid.
        if unsafe { bindings::rust_loop_helper_css_is_blkcg_root(css.as_ptr()) } {
            return None;
        }
        // SAFETY: The bio's association with a blkg holds the css until the bio
        // completes, which by the caller's promise is not before `'a` ends.
        Some(unsafe { css.cast().as_ref() })
    }

    /// Returns a key for lookups. Two css that are alive have different keys.
    pub(crate) fn key(&self) -> CssKey {
        CssKey(self.0.get() as usize)
    }

    /// Returns the css's number, unique among those of its controller.
    pub(crate) fn id(&self) -> i32 {
        // SAFETY: By the type invariant the css is alive.
        unsafe { bindings::rust_loop_helper_css_id(self.0.get()) }
    }

    /// Takes a reference.
    pub(crate) fn get(&self) -> ARef<Self> {
        self.into()
    }

    /// Returns whether the cgroup has been removed. Any context.
    pub(crate) fn is_dying(&self) -> bool {
        // SAFETY: By the type invariant the css is alive.
        unsafe { bindings::rust_loop_helper_css_is_dying(self.0.get()) }
    }

    /// Returns the nearest cgroup, from this one upwards, that has not been removed; it is
    /// alive as long as `self` is. Any context.
    fn nearest_online(&self) -> *mut bindings::cgroup_subsys_state {
        // SAFETY: By the type invariant this css is alive, and each one holds its parent.
        unsafe { bindings::rust_loop_helper_css_nearest_online(self.0.get()) }
    }

    /// Returns to whom memory is charged that is used on behalf of the cgroup:
    /// the nearest that the memory controller is enabled for. Any context.
    pub(crate) fn memcg(&self) -> Option<ARef<MemcgCss>> {
        // SAFETY: By the type invariant the css is alive.
        let css = unsafe { bindings::rust_loop_helper_css_memcg(self.0.get()) };
        // SAFETY: If it is not null it comes with a reference, which is ours.
        NonNull::new(css).map(|css| unsafe { ARef::from_raw(css.cast()) })
    }
}

/// To whom I/O and the memory that it takes are charged.
#[derive(Clone)]
pub(crate) struct Charge {
    blkcg: ARef<BlkcgCss>,
    memcg: Option<ARef<MemcgCss>>,
}

impl Charge {
    /// Charges the cgroup of `blkcg`. Any context.
    pub(crate) fn to(blkcg: &BlkcgCss) -> Self {
        Self {
            blkcg: blkcg.get(),
            memcg: blkcg.memcg(),
        }
    }

    /// Returns who is charged for I/O.
    pub(crate) fn blkcg(&self) -> &BlkcgCss {
        &self.blkcg
    }

    /// Returns how often the OOM killer was invoked for the memory limits of the cgroup and
    /// its ancestors. The count wraps. Any context.
    pub(crate) fn oom_events(&self) -> usize {
        self.memcg.as_ref().map_or(0, |memcg| {
            // SAFETY: By the type invariant the css is alive, and it is one of the memory
            // controller.
            unsafe { bindings::rust_loop_helper_memcg_oom_events(memcg.0.get()) }
        })
    }

    /// Returns whether the memory limits of the cgroup and its ancestors allow another batch
    /// of pages (`MEMCG_CHARGE_BATCH`), without reclaim. Any context.
    pub(crate) fn has_room(&self) -> bool {
        self.memcg.as_ref().is_none_or(|memcg| {
            // SAFETY: As for `oom_events`.
            unsafe { bindings::rust_loop_helper_memcg_has_room(memcg.0.get()) }
        })
    }

    /// Calls `f`, and charges what the current kernel thread does meanwhile. Process
    /// context of a kernel thread.
    ///
    /// I/O for a removed cgroup is charged to its nearest ancestor that has not been
    /// removed. Otherwise `blkg_tryget_closest()` charges it to the root, which has no
    /// limits.
    ///
    /// A function rather than a guard: guards could be dropped in the order in which they
    /// were made, which would leave a memory cgroup in force that has no reference.
    pub(crate) fn charge<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: Both css are alive, and `self`, which is borrowed until the end, keeps
        // them so while they are in force.
        let outer_memcg = unsafe {
            bindings::rust_loop_helper_kthread_associate_blkcg(self.blkcg.nearest_online());
            self.memcg
                .as_ref()
                .map(|memcg| bindings::rust_loop_helper_set_active_memcg(memcg.0.get()))
        };
        let ret = f();
        // SAFETY: `f` has run in this thread and has ended all scopes that it began, so
        // the memory cgroup in force is `self.memcg`. The one before is kept alive by the
        // caller of this function that made it so.
        unsafe {
            if let Some(memcg) = outer_memcg {
                bindings::rust_loop_helper_restore_active_memcg(memcg);
            }
            bindings::rust_loop_helper_kthread_associate_blkcg(core::ptr::null_mut());
        }
        ret
    }

    /// Calls `f`, and charges it to `to`, or to the cgroup of the kernel thread itself if that
    /// is `None`. See [`Self::charge`].
    pub(crate) fn charge_to<R>(to: Option<&Self>, f: impl FnOnce() -> R) -> R {
        match to {
            Some(to) => to.charge(f),
            None => f(),
        }
    }
}
