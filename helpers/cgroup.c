// SPDX-License-Identifier: GPL-2.0

#include <linux/blk-cgroup.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/sched/mm.h>

#include "helpers.h"

void rust_loop_helper_css_get(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_CGROUPS
	css_get(css);
#endif
}

void rust_loop_helper_css_put(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_CGROUPS
	css_put(css);
#endif
}

int rust_loop_helper_css_path(struct cgroup_subsys_state *css, char *buf, size_t len)
{
#ifdef CONFIG_CGROUPS
	return cgroup_path(css->cgroup, buf, len);
#else
	return -EOPNOTSUPP;
#endif
}

int rust_loop_helper_css_id(const struct cgroup_subsys_state *css)
{
#ifdef CONFIG_CGROUPS
	return css->id;
#else
	return 0;
#endif
}

struct cgroup_subsys_state *rust_loop_helper_bio_blkcg_css(struct bio *bio)
{
#ifdef CONFIG_BLK_CGROUP
	return bio_blkcg_css(bio);
#else
	return NULL;
#endif
}

bool rust_loop_helper_css_is_blkcg_root(const struct cgroup_subsys_state *css)
{
#ifdef CONFIG_BLK_CGROUP
	return css == blkcg_root_css;
#else
	return true;
#endif
}

bool rust_loop_helper_css_is_dying(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_CGROUPS
	return css_is_dying(css);
#else
	return false;
#endif
}

/* Returns @css if it has not been removed, else its nearest ancestor that has not. */
struct cgroup_subsys_state *rust_loop_helper_css_nearest_online(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_CGROUPS
	while (css_is_dying(css) && css->parent)
		css = css->parent;
#endif
	return css;
}

/* Returns the memory css of the cgroup of @css, with a reference, or NULL. */
struct cgroup_subsys_state *rust_loop_helper_css_memcg(struct cgroup_subsys_state *css)
{
#if defined(CONFIG_CGROUPS) && defined(CONFIG_MEMCG)
	return cgroup_get_e_css(css->cgroup, &memory_cgrp_subsys);
#else
	return NULL;
#endif
}

/*
 * Returns how often the OOM killer was invoked for the limit of @css or of one of its
 * ancestors.
 */
unsigned long rust_loop_helper_memcg_oom_events(struct cgroup_subsys_state *css)
{
	unsigned long events = 0;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;

	for (memcg = mem_cgroup_from_css(css); memcg; memcg = parent_mem_cgroup(memcg))
		events += atomic_long_read(&memcg->memory_events_local[MEMCG_OOM]);
#endif
	return events;
}

/* Returns whether the limits of @css and its ancestors allow another batch of pages. */
bool rust_loop_helper_memcg_has_room(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_MEMCG
	struct mem_cgroup *memcg;

	for (memcg = mem_cgroup_from_css(css); memcg; memcg = parent_mem_cgroup(memcg)) {
		if (page_counter_read(&memcg->memory) + MEMCG_CHARGE_BATCH >
		    READ_ONCE(memcg->memory.max))
			return false;
		if (!cgroup_subsys_on_dfl(memory_cgrp_subsys) &&
		    page_counter_read(&memcg->memsw) + MEMCG_CHARGE_BATCH >
		    READ_ONCE(memcg->memsw.max))
			return false;
	}
#endif
	return true;
}

void rust_loop_helper_kthread_associate_blkcg(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_BLK_CGROUP
	kthread_associate_blkcg(css);
#endif
}

/* Returns the previously active memory cgroup. */
struct mem_cgroup *rust_loop_helper_set_active_memcg(struct cgroup_subsys_state *css)
{
#ifdef CONFIG_MEMCG
	return set_active_memcg(mem_cgroup_from_css(css));
#else
	return NULL;
#endif
}

void rust_loop_helper_restore_active_memcg(struct mem_cgroup *memcg)
{
	set_active_memcg(memcg);
}
