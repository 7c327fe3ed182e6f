// SPDX-License-Identifier: GPL-2.0

//! Allocation flags of page caches.
//!
//! C header: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use crate::abstractions::bindings;
use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::Mutex, //
};

/// Page caches whose memory is allocated without starting I/O, by mapping.
///
/// A mapping may be used more than once. It gets its original allocation flags back when the last
/// use ends.
///
/// # Examples
///
/// ```
/// use crate::abstractions::fs::NoIoGfpTable;
/// use kernel::{
///     prelude::*,
///     sync::Arc, //
/// };
///
/// fn create() -> Result<Arc<NoIoGfpTable>> {
///     Arc::pin_init(NoIoGfpTable::new(), GFP_KERNEL)
/// }
/// ```
#[pin_data]
pub(crate) struct NoIoGfpTable {
    #[pin]
    uses: Mutex<RBTree<usize, NoIoGfpUse>>,
}

struct NoIoGfpUse {
    count: usize,
    orig_gfp: bindings::gfp_t,
}

impl NoIoGfpTable {
    /// Creates an empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            uses <- new_mutex!(RBTree::new(), "rust_loop_mappings"),
        })
    }

    /// Starts a use of the mapping of `file`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn start(&self, file: &File) -> Result {
        let mapping = mapping(file);
        let mut uses = self.uses.lock();
        if let Some(found) = uses.get_mut(&(mapping as usize)) {
            found.count += 1;
            return Ok(());
        }
        // SAFETY: The mapping is alive.
        let orig_gfp = unsafe { bindings::rust_loop_helper_mapping_gfp_mask(mapping) };
        let new = NoIoGfpUse { count: 1, orig_gfp };
        uses.try_create_and_insert(mapping as usize, new, GFP_KERNEL)?;
        let gfp = orig_gfp & !bindings::RUST_LOOP_CONST_GFP_IO_FS;
        // SAFETY: The mapping is alive.
        unsafe { bindings::rust_loop_helper_mapping_set_gfp_mask(mapping, gfp) };
        Ok(())
    }

    /// Ends a use of the mapping of `file`.
    pub(super) fn end(&self, file: &File) {
        let mapping = mapping(file);
        let mut uses = self.uses.lock();
        let Some(found) = uses.get_mut(&(mapping as usize)) else {
            return;
        };
        found.count -= 1;
        if found.count > 0 {
            return;
        }
        if let Some(found) = uses.remove(&(mapping as usize)) {
            // SAFETY: The mapping is alive.
            unsafe { bindings::rust_loop_helper_mapping_set_gfp_mask(mapping, found.orig_gfp) };
        }
    }
}

/// Returns the mapping of `file`, which lives as long as the file.
fn mapping(file: &File) -> *mut bindings::address_space {
    // SAFETY: The file is alive, and its mapping does not change.
    unsafe { (*file.as_ptr()).f_mapping }
}
