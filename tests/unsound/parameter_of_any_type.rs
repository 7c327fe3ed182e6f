// SPDX-License-Identifier: GPL-2.0
//! The functions of a module parameter get an argument of their own type.

use crate::abstractions::{
    compat::this_module::this_module,
    module_param::{
        self,
        KernelParam,
        Param, //
    },
};

struct Byte(u8);

impl Param for Byte { //~ E0200
    const OPS: &'static kernel::bindings::kernel_param_ops = &module_param::INT_PARAM_OPS; //~ E0603
}

static BYTE: Byte = Byte(0);
static PARAM: KernelParam = KernelParam::new(this_module(), kernel::c_str!("byte"), 0o644, &BYTE);
