// SPDX-License-Identifier: GPL-2.0

#include <linux/mutex.h>
#include <linux/spinlock.h>

#include "helpers.h"

int rust_loop_helper_mutex_lock_killable(struct mutex *lock)
{
	return mutex_lock_killable(lock);
}

unsigned long rust_loop_helper_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void rust_loop_helper_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

void rust_loop_helper_spin_assert_is_held(spinlock_t *lock)
{
	lockdep_assert_held(lock);
}
