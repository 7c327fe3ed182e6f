// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>

#include "helpers.h"

/* The Rust macro module! has no field for a version. */
MODULE_VERSION(RUST_LOOP_VERSION);

bool rust_loop_helper_try_module_get(struct module *module)
{
	return try_module_get(module);
}
