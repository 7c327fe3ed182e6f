// SPDX-License-Identifier: GPL-2.0

//! Cgroups that submit block I/O, and charging I/O and memory to them.
//!
//! A cgroup has one *css* (`struct cgroup_subsys_state`) for each controller. This module has the
//! css of the block controller ([`BlkcgCss`]) and that of the memory controller ([`MemcgCss`]).
//! [`IoCgroup`] holds both for the cgroup of a command, and charges a kernel thread's work to it.
//!
//! C headers: [`include/linux/cgroup.h`](srctree/include/linux/cgroup.h),
//! [`include/linux/blk-cgroup.h`](srctree/include/linux/blk-cgroup.h),
//! [`include/linux/memcontrol.h`](srctree/include/linux/memcontrol.h)

use super::{
    bindings,
    block::mq::RequestRef,
    compat::errno::ENAMETOOLONG, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// A cgroup controller (`struct cgroup_subsys`).
pub(crate) trait Controller: 'static {}

/// The block controller (`io_cgrp_subsys`).
pub(crate) enum Io {}

/// The memory controller (`memory_cgrp_subsys`).
pub(crate) enum Memory {}

impl Controller for Io {}
impl Controller for Memory {}

/// State of one cgroup in controller `C`
/// ([`struct cgroup_subsys_state`](srctree/include/linux/cgroup-defs.h)).
///
/// # Invariants
///
/// - A reference to it implies that its reference count is not zero.
/// - It belongs to controller `C`.
#[repr(transparent)]
pub(crate) struct Css<C: Controller>(Opaque<bindings::cgroup_subsys_state>, PhantomData<C>);

/// State of one cgroup in the block controller.
pub(crate) type BlkcgCss = Css<Io>;

/// State of one cgroup in the memory controller.
pub(crate) type MemcgCss = Css<Memory>;

// SAFETY: The reference count is a `percpu_ref`, which any context may change. The last put defers
// the release to a workqueue.
unsafe impl<C: Controller> AlwaysRefCounted for Css<C> {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the count is not zero.
        unsafe { bindings::rust_loop_helper_css_get(self.0.get()) };
    }

    /// # Safety
    ///
    /// As for [`AlwaysRefCounted::dec_ref`]: the caller gives up a reference.
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { bindings::rust_loop_helper_css_put(obj.as_ptr().cast()) };
    }
}

// SAFETY: A css may be used from any thread.
unsafe impl<C: Controller> Send for Css<C> {}
// SAFETY: A css may be used from any thread. The methods read only fields that do not change, or
// flags that may be read at any time.
unsafe impl<C: Controller> Sync for Css<C> {}

impl<C: Controller> Css<C> {
    /// Writes the path of the cgroup, from the root of its hierarchy, to `buf` and returns it
    /// (`cgroup_path()`). Any context.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` if it does not fit.
    pub(crate) fn path<'b>(&self, buf: &'b mut [u8]) -> Result<&'b BStr> {
        let (ptr, len) = (buf.as_mut_ptr().cast(), buf.len());
        // SAFETY: By the type invariant the css is alive; `buf` is valid for writes of its length.
        let len = unsafe { bindings::rust_loop_helper_css_path(self.0.get(), ptr, len) };
        let len = usize::try_from(len).map_err(|_| Error::from_errno(len))?;
        let path = buf.get(..len).ok_or(ENAMETOOLONG)?;
        Ok(BStr::from_bytes(path))
    }

    /// Returns the number of the css, unique within its controller (`css->id`).
    pub(crate) fn id(&self) -> i32 {
        // SAFETY: By the type invariant the css is alive.
        unsafe { bindings::rust_loop_helper_css_id(self.0.get()) }
    }

    /// Takes a reference.
    pub(crate) fn get(&self) -> ARef<Self> {
        self.into()
    }

    /// Returns whether the cgroup has been removed (`css_is_dying()`). Any context.
    pub(crate) fn is_dying(&self) -> bool {
        // SAFETY: By the type invariant the css is alive.
        unsafe { bindings::rust_loop_helper_css_is_dying(self.0.get()) }
    }

    /// Returns the key of the css, which no other css has while this one is alive.
    pub(crate) fn key(&self) -> CssKey {
        CssKey(self.0.get() as usize)
    }

    /// Returns the css of the nearest cgroup that has not been removed, from this one upwards. It
    /// is alive as long as `self` is. Any context.
    fn nearest_online(&self) -> *mut bindings::cgroup_subsys_state {
        // SAFETY: By the type invariant the css is alive. Each css holds its parent.
        unsafe { bindings::rust_loop_helper_css_nearest_online(self.0.get()) }
    }
}

/// Identity of a css for lookups, valid while there is a reference to the css.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CssKey(usize);

impl CssKey {
    /// The first key. No css has it.
    pub(crate) const FIRST: Self = Self(0);

    /// Returns the key after this one, whether or not a css has it.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl RequestRef {
    /// Returns the cgroup to which the request is charged, which is that of its first bio. `None`
    /// if that is the root or there is no bio.
    pub(crate) fn blkcg(&self) -> Option<&BlkcgCss> {
        let bio = self.bio()?;
        // SAFETY: The bio belongs to the request, which is not ended while `self` is borrowed.
        unsafe { BlkcgCss::of_bio(bio) }
    }
}

impl BlkcgCss {
    /// Returns the css to which `bio` is charged. `None` if there is none or it is the root's.
    ///
    /// # Safety
    ///
    /// `bio` must be valid and must not be completed during `'a`, because it holds the css.
    pub(super) unsafe fn of_bio<'a>(bio: NonNull<bindings::bio>) -> Option<&'a Self> {
        // SAFETY: By the caller's promise `bio` is valid.
        let css = unsafe { bindings::rust_loop_helper_bio_blkcg_css(bio.as_ptr()) };
        let css = NonNull::new(css)?;
        // SAFETY: The bio holds the css.
        if unsafe { bindings::rust_loop_helper_css_is_blkcg_root(css.as_ptr()) } {
            return None;
        }
        // SAFETY: The bio holds the css through its blkg until it is completed, by the caller's
        // promise not before `'a` ends. It is a css of the block controller.
        Some(unsafe { css.cast().as_ref() })
    }

    /// Returns the css to which memory is charged that is used on behalf of the cgroup: that of
    /// the nearest cgroup for which the memory controller is enabled. Any context.
    pub(crate) fn memcg(&self) -> Option<ARef<MemcgCss>> {
        // SAFETY: By the type invariant the css is alive.
        let css = unsafe { bindings::rust_loop_helper_css_memcg(self.0.get()) };
        // SAFETY: The helper returns a css of the memory controller with a reference, which is
        // ours.
        NonNull::new(css).map(|css| unsafe { ARef::from_raw(css.cast()) })
    }
}

/// Cgroup to which I/O, and the memory that it takes, is charged.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     cgroup::IoCgroup,
///     fs::BackingFile, //
/// };
/// use kernel::prelude::*;
///
/// /// Flushes a file on behalf of a cgroup, if there is one.
/// fn flush(file: &BackingFile, cgroup: Option<&IoCgroup>) -> Result {
///     IoCgroup::associate_with(cgroup, || file.fsync())
/// }
/// ```
#[derive(Clone)]
pub(crate) struct IoCgroup {
    blkcg: ARef<BlkcgCss>,
    memcg: Option<ARef<MemcgCss>>,
}

impl IoCgroup {
    /// Returns the cgroup of `blkcg`. Any context.
    pub(crate) fn from_blkcg(blkcg: &BlkcgCss) -> Self {
        Self {
            blkcg: blkcg.get(),
            memcg: blkcg.memcg(),
        }
    }

    /// Returns the css of the block controller.
    pub(crate) fn blkcg(&self) -> &BlkcgCss {
        &self.blkcg
    }

    /// Returns the number of times that the OOM killer was invoked for the memory limits of the
    /// cgroup and its ancestors. The number wraps around. Any context.
    pub(crate) fn oom_events(&self) -> usize {
        self.memcg.as_ref().map_or(0, |memcg| {
            // SAFETY: By the type invariant this is a live css of the memory controller.
            unsafe { bindings::rust_loop_helper_memcg_oom_events(memcg.0.get()) }
        })
    }

    /// Returns whether the memory limits of the cgroup and its ancestors allow another batch of
    /// pages (`MEMCG_CHARGE_BATCH`) without reclaim. Any context.
    pub(crate) fn has_room(&self) -> bool {
        self.memcg.as_ref().is_none_or(|memcg| {
            // SAFETY: As for `oom_events`.
            unsafe { bindings::rust_loop_helper_memcg_has_room(memcg.0.get()) }
        })
    }

    /// Calls `f`, and charges the I/O and memory of the current kernel thread to the cgroup
    /// meanwhile (`kthread_associate_blkcg()`, `set_active_memcg()`). Process context of a kernel
    /// thread.
    ///
    /// I/O for a removed cgroup is charged to its nearest ancestor that has not been removed.
    /// Otherwise `blkg_tryget_closest()` charges it to the root, which has no limits.
    ///
    /// This is a function rather than a guard. Guards could be dropped in the order in which they
    /// were created, which would leave a memory cgroup active without a reference to it.
    pub(crate) fn associate<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: The css is alive while `self` is borrowed, which is until it is reset below.
        unsafe {
            bindings::rust_loop_helper_kthread_associate_blkcg(self.blkcg.nearest_online());
        }
        let outer_memcg = self.memcg.as_ref().map(|memcg| {
            // SAFETY: As for the css above.
            unsafe { bindings::rust_loop_helper_set_active_memcg(memcg.0.get()) }
        });
        let ret = f();
        if let Some(memcg) = outer_memcg {
            // SAFETY: `f` has ended all scopes that it began, so `self.memcg` is active. The
            // caller that activated the previous one keeps that alive.
            unsafe { bindings::rust_loop_helper_restore_active_memcg(memcg) };
        }
        // SAFETY: Resets the association of the current thread.
        unsafe { bindings::rust_loop_helper_kthread_associate_blkcg(core::ptr::null_mut()) };
        ret
    }

    /// Calls `f`, and charges it to `cgroup`, or to the cgroup of the kernel thread itself if that is
    /// `None`. See [`Self::associate`].
    pub(crate) fn associate_with<R>(cgroup: Option<&Self>, f: impl FnOnce() -> R) -> R {
        match cgroup {
            Some(cgroup) => cgroup.associate(f),
            None => f(),
        }
    }
}
