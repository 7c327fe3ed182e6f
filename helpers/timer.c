// SPDX-License-Identifier: GPL-2.0

#include <linux/jiffies.h>

#include "helpers.h"

void rust_loop_helper_timer_setup(struct timer_list *timer, void (*func)(struct timer_list *),
				  unsigned int flags)
{
	timer_setup(timer, func, flags);
}

unsigned long rust_loop_helper_jiffies(void)
{
	return jiffies;
}

u64 rust_loop_helper_get_jiffies_64(void)
{
	return get_jiffies_64();
}

unsigned int rust_loop_helper_jiffies_to_msecs(unsigned long j)
{
	return jiffies_to_msecs(j);
}
