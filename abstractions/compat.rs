// SPDX-License-Identifier: GPL-2.0

//! Items of the `kernel` crate that not all supported kernels have.
//!
//! Each file stands for one item. It re-exports the item of the `kernel` crate, and defines it
//! only for Linux 7.2 (`--cfg rust_loop_7_2`, set by `Kbuild`). When support for 7.2 ends, this
//! folder is deleted and its users import the items from the `kernel` crate.

pub(crate) mod errno;
pub(crate) mod this_module;
