// SPDX-License-Identifier: GPL-2.0
//! A module that is being unloaded gets no new reference.

use crate::abstractions::{
    compat::this_module::this_module,
    module::ModuleRef, //
};

fn misuse() -> ModuleRef {
    ModuleRef::get(this_module()) //~ E0599
}
