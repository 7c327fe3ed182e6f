// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

#include "helpers.h"

/*
 * alloc_workqueue() takes its name as a format, which is not ours to pass on. As many work
 * items as can be are executed at a time where they may wait for each other.
 */
struct workqueue_struct *rust_loop_helper_alloc_workqueue(const char *name, unsigned int flags)
{
	return alloc_workqueue("%s", flags, flags & WQ_UNBOUND ? WQ_MAX_ACTIVE : 0, name);
}

void rust_loop_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

/* For what runs in a softirq: what one function sets up is one class to lockdep. */
void rust_loop_helper_init_bh_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}
