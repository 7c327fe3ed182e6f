// SPDX-License-Identifier: GPL-2.0
//! A module that is being unloaded gets no new reference.

use crate::abstractions::module::{
    ModuleRef,
    THIS_MODULE, //
};

fn misuse() -> ModuleRef {
    ModuleRef::get(&THIS_MODULE) //~ E0599
}
