// SPDX-License-Identifier: GPL-2.0

//! The module itself, and references to it.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use super::bindings;
use kernel::{
    prelude::*,
    ThisModule, //
};

/// The module that this crate is.
///
/// `kernel::module!` defines one, too, but not under a name that all supported
/// versions have.
pub(crate) static THIS_MODULE: ThisModule = {
    // SAFETY: `__this_module` is made by the module loader and lives until the
    // module is unloaded.
    unsafe { ThisModule::from_ptr((&raw const bindings::__this_module).cast_mut()) }
};

/// Keeps the module loaded while it lives.
pub(crate) struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference. Any context.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is about to be unloaded. That cannot be while the caller works
    /// for an open file of the module, which has a reference of its own.
    pub(crate) fn try_get(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: `ThisModule` is the module that this code is in.
        match unsafe { bindings::rust_loop_helper_try_module_get(module.as_ptr()) } {
            true => Ok(Self(module)),
            false => Err(ENODEV),
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: We hold a reference.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
