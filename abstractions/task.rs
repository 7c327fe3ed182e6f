// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use super::bindings;
use kernel::types::NotThreadSafe;

/// While this lives, the current task is one that others wait for in order to
/// write back memory: its allocations do not start I/O (`PF_MEMALLOC_NOIO`),
/// and it is throttled only by the device it writes to (`PF_LOCAL_THROTTLE`).
pub(crate) struct BackingIoScope {
    orig_flags: u32,
    _not_send: NotThreadSafe,
}

impl BackingIoScope {
    /// Enters the scope. Process context.
    pub(crate) fn enter() -> Self {
        Self {
            // SAFETY: Changes the flags of the current task only.
            orig_flags: unsafe {
                bindings::rust_loop_helper_current_set_flags(
                    bindings::RUST_LOOP_CONST_PF_LOOP_WORKER,
                )
            },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for BackingIoScope {
    fn drop(&mut self) {
        // SAFETY: Not `Send`, so this is the task whose flags were changed.
        unsafe {
            bindings::rust_loop_helper_current_restore_flags(
                self.orig_flags,
                bindings::RUST_LOOP_CONST_PF_LOOP_WORKER,
            )
        };
    }
}

/// Lets other tasks run if it is their turn. Process context, may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Has no preconditions but the context.
    unsafe { bindings::rust_loop_helper_cond_resched() };
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
