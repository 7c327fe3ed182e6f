// SPDX-License-Identifier: GPL-2.0

//! References to modules.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use super::bindings;
use kernel::{
    prelude::*,
    ThisModule, //
};

/// A reference to a module, which keeps it loaded.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     compat::this_module::this_module,
///     module::ModuleRef, //
/// };
/// use kernel::prelude::*;
///
/// /// Keeps this module loaded.
/// fn hold() -> Result<ModuleRef> {
///     ModuleRef::try_get(this_module())
/// }
/// ```
pub(crate) struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference (`try_module_get()`). Any context.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is about to be unloaded. This cannot happen while the caller works
    /// for an open file of the module, because the file has a reference of its own.
    pub(crate) fn try_get(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: `ThisModule` is the module that this code is part of.
        if unsafe { bindings::rust_loop_helper_try_module_get(module.as_ptr()) } {
            Ok(Self(module))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: This is the reference that `try_get` has taken.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}
