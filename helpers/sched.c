// SPDX-License-Identifier: GPL-2.0

#include <linux/capability.h>
#include <linux/sched.h>

#include "helpers.h"

unsigned int rust_loop_helper_current_set_flags(unsigned int flags)
{
	unsigned int orig = current->flags;

	current->flags |= flags;
	return orig;
}

void rust_loop_helper_current_restore_flags(unsigned int orig, unsigned int flags)
{
	current_restore_flags(orig, flags);
}

void rust_loop_helper_cond_resched(void)
{
	cond_resched();
}

bool rust_loop_helper_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

/* alloc_workqueue() takes its name as a format, which is not ours to pass on. */
struct workqueue_struct *rust_loop_helper_alloc_workqueue(const char *name, unsigned int flags)
{
	return alloc_workqueue("%s", flags, 0, name);
}
