// SPDX-License-Identifier: GPL-2.0

//! Raw declarations: those of the `kernel` crate, and what the extra bindgen
//! run over `bindings/bindings_helper.h` adds.
//!
//! Private to the abstractions: the driver never sees a raw pointer.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]

pub(super) use kernel::bindings::*;

mod generated {
    use kernel::bindings::*;
    use kernel::ffi;

    include!(env!("RUST_LOOP_BINDINGS"));
}

pub(super) use generated::*;
// Named, because the `kernel` crate may have it as well.
pub(super) use generated::compat_dev_t;
