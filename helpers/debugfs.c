// SPDX-License-Identifier: GPL-2.0

#include <linux/debugfs.h>

#include "helpers.h"

/* All of these are inline functions without CONFIG_DEBUG_FS. */

struct dentry *rust_loop_helper_debugfs_create_dir(const char *name, struct dentry *parent)
{
	return debugfs_create_dir(name, parent);
}

struct dentry *rust_loop_helper_debugfs_create_file(const char *name, umode_t mode,
						    struct dentry *parent, void *data,
						    const struct file_operations *fops)
{
	return debugfs_create_file(name, mode, parent, data, fops);
}

void rust_loop_helper_debugfs_remove(struct dentry *dentry)
{
	debugfs_remove(dentry);
}
