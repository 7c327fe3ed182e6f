// SPDX-License-Identifier: GPL-2.0

//! The module that this crate is. `kernel::module::this_module` exists since Linux 7.3.
//!
//! C header: [`include/linux/export.h`](srctree/include/linux/export.h)

use kernel::ThisModule;

/// Returns `THIS_MODULE`, which `kernel::module!` defines.
pub(crate) const fn this_module() -> &'static ThisModule {
    #[cfg(not(rust_loop_7_2))]
    {
        kernel::module::this_module::<crate::LocalModule>()
    }
    #[cfg(rust_loop_7_2)]
    {
        &crate::THIS_MODULE
    }
}
