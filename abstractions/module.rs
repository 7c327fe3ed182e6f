// SPDX-License-Identifier: GPL-2.0

//! The module itself, and references to it.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use super::bindings;
use kernel::ThisModule;

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
    /// Takes a reference, for which the caller must have one already: say, that
    /// of the open file which it is working for. Any context.
    pub(crate) fn get(module: &'static ThisModule) -> Self {
        // SAFETY: `ThisModule` is the module that this code is in.
        unsafe { bindings::__module_get(module.as_ptr()) };
        Self(module)
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: We hold a reference.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
