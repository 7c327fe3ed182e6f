// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use super::bindings;
use kernel::{
    impl_flags,
    task::Task, //
};

impl_flags!(
    /// Flags that a section of code sets for the current task, see [`with_flags`].
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct TaskFlags(u32);

    /// One of the [`TaskFlags`].
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum TaskFlag {
        /// Dirty page throttling considers only the device that the task writes to
        /// (`PF_LOCAL_THROTTLE`).
        LocalThrottle = bindings::RUST_LOOP_CONST_PF_LOCAL_THROTTLE,
        /// Allocations do not start I/O (`PF_MEMALLOC_NOIO`).
        MemallocNoio = bindings::RUST_LOOP_CONST_PF_MEMALLOC_NOIO,
        /// Allocations may use the reserves of the page allocator, and do not reclaim
        /// (`PF_MEMALLOC`).
        Memalloc = bindings::RUST_LOOP_CONST_PF_MEMALLOC,
    }
);

/// Calls `f` with `flags` of the current task set. Process context.
///
/// With [`TaskFlag::Memalloc`], `f` must allocate little and free it soon. It must not write back
/// page cache: filesystems warn about the flag and refuse.
///
/// This is a function rather than a guard, so that scopes end in the reverse order of that in which
/// they began. A guard that is dropped too early would set flags permanently.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     fs::BackingFile,
///     task::{
///         self,
///         TaskFlag, //
///     },
/// };
/// use kernel::prelude::*;
///
/// /// Flushes a file for a caller that reclaim waits for.
/// fn flush(file: &BackingFile) -> Result {
///     let flags = TaskFlag::LocalThrottle | TaskFlag::MemallocNoio;
///     task::with_flags(flags, || file.fsync())
/// }
/// ```
pub(crate) fn with_flags<R>(flags: TaskFlags, f: impl FnOnce() -> R) -> R {
    let flags = flags.into();
    // SAFETY: Changes flags of the current task only.
    let orig_flags = unsafe { bindings::rust_loop_helper_current_set_flags(flags) };
    let ret = f();
    // SAFETY: `f` has run in this task, and has restored the flags that it set.
    unsafe { bindings::rust_loop_helper_current_restore_flags(orig_flags, flags) };
    ret
}

/// Calls `f` with access to the memory reserves ([`TaskFlag::Memalloc`]). See [`with_flags`].
pub(crate) fn with_memory_reserve<R>(f: impl FnOnce() -> R) -> R {
    with_flags(TaskFlag::Memalloc.into(), f)
}

/// Returns whether the caller runs in task context, and neither in an interrupt nor in a softirq
/// (`in_task()`). Any context.
pub(crate) fn in_task() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { bindings::rust_loop_helper_in_task() }
}

/// Returns whether at least half of the stack is left, be it the stack of a task or of interrupts.
/// Any context.
///
/// For callbacks that may be nested without a known bound: they continue directly while there is
/// room, and otherwise from a context with an empty stack.
///
/// # Examples
///
/// ```
/// use crate::abstractions::task;
///
/// /// Calls `f` now if there is room for it, and else defers it.
/// fn call_or_defer<F: FnOnce()>(f: F, defer: impl FnOnce(F)) {
///     if task::has_stack_room() {
///         f();
///     } else {
///         defer(f);
///     }
/// }
/// ```
#[inline]
pub(crate) fn has_stack_room() -> bool {
    let here = 0u8;
    // All stacks have this size, are aligned to it, and grow downwards.
    let room = (&raw const here).addr() & (bindings::RUST_LOOP_CONST_THREAD_SIZE - 1);
    room >= bindings::RUST_LOOP_CONST_THREAD_SIZE / 2
}

/// Identity of a task up to its next voluntary context switch.
///
/// Two stamps are equal if they are of the same task and it has not slept in between.
///
/// # Examples
///
/// ```
/// use crate::abstractions::task::TaskStamp;
///
/// /// Returns whether the current task has slept during `f`.
/// fn sleeps(f: impl FnOnce()) -> bool {
///     let before = TaskStamp::current();
///     f();
///     before != TaskStamp::current()
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskStamp {
    task: usize,
    /// Number of voluntary context switches (`task_struct.nvcsw`).
    nvcsw: kernel::ffi::c_ulong,
}

impl TaskStamp {
    /// Returns the stamp of the current task. Any context; in an interrupt that of the interrupted
    /// task.
    pub(crate) fn current() -> Self {
        Self {
            task: Task::current_raw() as usize,
            // SAFETY: Reads one word of the current task.
            nvcsw: unsafe { bindings::rust_loop_helper_current_nvcsw() },
        }
    }
}

/// Returns whether another task of normal priority may run on this CPU soon: in task context, if
/// the current task has no real-time priority, and if the CPU is not isolated (`isolcpus`,
/// `nohz_full`). Any context.
pub(crate) fn may_run_beside_current() -> bool {
    // SAFETY: Has no preconditions. The answer may be outdated if the task migrates.
    unsafe { bindings::rust_loop_helper_may_run_beside_current() }
}

/// Reschedules if another task is due (`cond_resched()`). Process context, may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_cond_resched() };
}

/// Lets the other runnable tasks of this CPU run first, if there are any (`yield()`). Process
/// context, sleeps.
///
/// This is not a way to wait for something. It may take any time, and need not let a particular
/// task run.
pub(crate) fn yield_now() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_yield() };
}

/// Waits for a moment in which other tasks may free memory (`memalloc_retry_wait()`). Process
/// context, sleeps.
pub(crate) fn memalloc_retry_wait() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_memalloc_retry_wait() };
}

/// Returns the number of pages that can be allocated without swapping (`si_mem_available()`): free
/// pages, and clean page cache for the most part; and the number of all pages. Any context.
pub(crate) fn mem_available() -> (u64, u64) {
    // SAFETY: Both only add up counters.
    let (available, total) = unsafe {
        (
            bindings::si_mem_available(),
            bindings::rust_loop_helper_totalram_pages(),
        )
    };
    (available.max(0) as u64, total as u64)
}

/// Returns whether the current task has `CAP_SYS_ADMIN` (`capable()`).
pub(crate) fn capable_sys_admin() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { bindings::rust_loop_helper_capable_sys_admin() }
}
