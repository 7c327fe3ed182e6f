// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use super::bindings;
use kernel::{
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::Task, //
};

/// Calls `f` as a task that reclaim waits for: its allocations do not start I/O
/// (`PF_MEMALLOC_NOIO`), and it is throttled only by the device that it writes to
/// (`PF_LOCAL_THROTTLE`). Process context.
///
/// # Examples
///
/// ```ignore
/// task::with_backing_io(|| file.write(pos, iter, access))
/// ```
pub(crate) fn with_backing_io<R>(f: impl FnOnce() -> R) -> R {
    with_flags(bindings::RUST_LOOP_CONST_PF_LOOP_WORKER, f)
}

/// Calls `f`, if `reserve` says so as a task that makes memory free: its allocations may use the reserves of the
/// page allocator, and do not reclaim (`PF_MEMALLOC`). Process context.
///
/// `f` must allocate little, and free it soon. It must not write back page cache:
/// filesystems warn of that and refuse.
pub(crate) fn with_memory_reserve_if<R>(reserve: bool, f: impl FnOnce() -> R) -> R {
    if reserve {
        with_flags(bindings::RUST_LOOP_CONST_PF_MEMALLOC, f)
    } else {
        f()
    }
}

/// Calls `f` with `flags` of the current task set.
///
/// A function rather than a guard, so that scopes cannot end in another order than the
/// reverse of that in which they began: a guard that is dropped too early would set flags
/// for good.
fn with_flags<R>(flags: u32, f: impl FnOnce() -> R) -> R {
    // SAFETY: Changes the flags of the current task only.
    let orig_flags = unsafe { bindings::rust_loop_helper_current_set_flags(flags) };
    let ret = f();
    // SAFETY: `f` has run in this task. The flags that it has set it has restored.
    unsafe { bindings::rust_loop_helper_current_restore_flags(orig_flags, flags) };
    ret
}

/// Tells a task that it is itself: what a function that is called from anywhere asks to
/// find out whether that is a certain place in a certain task.
pub(crate) struct TaskMark(Atomic<usize>);

impl TaskMark {
    /// Returns a mark that is not set.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Calls `f` with the mark set for the current task, not within itself. If several tasks
    /// do this at a time some may find that they are not here.
    pub(crate) fn set_during(&self, f: impl FnOnce()) {
        self.0.store(Task::current_raw() as usize, Relaxed);
        f();
        self.0.store(0, Relaxed);
    }

    /// Returns whether this is called, not from an interrupt, by a function that
    /// [`Self::set_during`] has called. Any context.
    pub(crate) fn is_here(&self) -> bool {
        // SAFETY: Has no preconditions.
        let in_task = unsafe { bindings::rust_loop_helper_in_task() };
        // What the current task has stored it finds; any other value is not its own.
        in_task && self.0.load(Relaxed) == Task::current_raw() as usize
    }
}

/// A task that has not slept since: equal to another if that is the same one, and it has
/// not slept in between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awake {
    task: usize,
    /// How often it has slept (`nvcsw`).
    slept: kernel::ffi::c_ulong,
}

impl Awake {
    /// Returns the current task. Any context, but says nothing of an interrupt.
    pub(crate) fn current() -> Self {
        Self {
            task: Task::current_raw() as usize,
            // SAFETY: Reads one word of the current task.
            slept: unsafe { bindings::rust_loop_helper_current_nvcsw() },
        }
    }
}

/// Returns whether something that the current task waits for may run on its CPU: in
/// process context, if it does not keep others from running by its priority, and if the
/// CPU is not set aside for something (`isolcpus`, `nohz_full`). Any context.
pub(crate) fn may_run_beside_current() -> bool {
    // SAFETY: Has no preconditions. That the task may be moved in between does no harm.
    unsafe { bindings::rust_loop_helper_may_run_beside_current() }
}

/// Lets other tasks run if it is their turn. Process context, may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_cond_resched() };
}

/// Lets the other tasks that this CPU has to run have their turn first, if there are any.
/// Process context, sleeps.
///
/// Not to wait for something: nobody says for how long it takes, nor that any of them is
/// the one that is hoped for.
pub(crate) fn yield_now() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_yield() };
}

/// Lets some time pass in which others may give back memory. Process context, sleeps.
pub(crate) fn wait_for_memory() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_memalloc_retry_wait() };
}

/// Returns whether the current task has `CAP_SYS_ADMIN`.
pub(crate) fn capable_sys_admin() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { bindings::rust_loop_helper_capable_sys_admin() }
}
