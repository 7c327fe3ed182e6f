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

unsigned long rust_loop_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

bool rust_loop_helper_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags)
{
	return spin_trylock_irqsave(lock, *flags);
}

void rust_loop_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}
