// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

#include "helpers.h"

/* alloc_workqueue() takes a format, which the name is not. */
struct workqueue_struct *rust_loop_helper_alloc_workqueue(const char *name, unsigned int flags,
							  int max_active)
{
	return alloc_workqueue("%s", flags, max_active, name);
}

void rust_loop_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

/* For work items that run in a softirq. Each caller of INIT_WORK() is a lockdep class. */
void rust_loop_helper_init_bh_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}
