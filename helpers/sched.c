// SPDX-License-Identifier: GPL-2.0

#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/sched/mm.h>
#include <linux/sched/rt.h>

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

void rust_loop_helper_yield(void)
{
	yield();
}

bool rust_loop_helper_capable_sys_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}

bool rust_loop_helper_in_task(void)
{
	return in_task();
}

unsigned long rust_loop_helper_current_nvcsw(void)
{
	return current->nvcsw;
}

bool rust_loop_helper_may_run_beside_current(void)
{
	int cpu = raw_smp_processor_id();

	return in_task() && !rt_or_dl_task(current) &&
	       housekeeping_test_cpu(cpu, HK_TYPE_DOMAIN) &&
	       housekeeping_test_cpu(cpu, HK_TYPE_KERNEL_NOISE);
}

unsigned long rust_loop_helper_totalram_pages(void)
{
	return totalram_pages();
}

void rust_loop_helper_memalloc_retry_wait(void)
{
	memalloc_retry_wait(GFP_NOIO);
}
