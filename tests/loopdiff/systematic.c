// SPDX-License-Identifier: GPL-2.0
/*
 * Every ioctl in every state with every kind of argument.
 */
#include "loopdiff.h"

#include <fnmatch.h>

/*
 * The states, from a file in the format of "replay". It has a line "state NAME [all]" before the
 * steps that lead to each; "before" has the steps that come before those of every state. MODE in
 * the flags of an "open" is the mode that is under test; the ioctls are done on that handle.
 */
static struct state {
	char name[32];
	bool all;	/* all arguments and modes, not only some of each kind */
	char steps[512];
} states[32];
static unsigned int state_count;

static struct state before_all;

static void states_read(const char *path)
{
	struct state *state = NULL;
	char line[256], all[8];
	FILE *f = fopen(path, "re");
	int n;

	if (!f)
		die("%s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!strcmp(line, "before\n")) {
			state = &before_all;
		} else if (!strncmp(line, "state ", 6)) {
			if (state_count == ARRAY_SIZE(states))
				die("%s: too many states", path);
			state = &states[state_count++];
			n = sscanf(line, "state %31s %7s", state->name, all);
			if (n < 1 || (n == 2 && strcmp(all, "all")))
				die("%s: %s", path, line);
			state->all = n == 2;
		} else if (!state || strlen(state->steps) + strlen(line) >= sizeof(state->steps)) {
			die("%s: %s", path, line);
		} else {
			strcat(state->steps, line);
		}
	}
	fclose(f);
}

static const struct mode {
	const char *name;
	unsigned int flags;
	bool unprivileged;
	bool all_states;
} modes[] = {
	{ "rw", O_RDWR, false, true },
	{ "ro", O_RDONLY, false, false },
	{ "ro-unprivileged", O_RDONLY, true, true },
	{ "rw-unprivileged", O_RDWR, true, false },
};

const uint64_t offsets[OFFSETS] = {
	0, 1, 511, 512, 4096, 65536, 262143, 262144, 262656, 1ull << 31, 1ull << 32, INT64_MAX - 511,
	INT64_MAX, 1ull << 63, UINT64_MAX - 511, UINT64_MAX,
};
const uint64_t block_sizes[BLOCK_SIZES] = {
	0, 1, 511, 512, 513, 1024, 1234, 2048, 4096, 8192, 65536, 131072, 1ull << 31,
	1ull << 32, (1ull << 32) + 512, (1ull << 32) + 4096, UINT32_MAX, UINT64_MAX,
};
const uint64_t crypts[CRYPTS] = {
	1, 2, 18, 19, UINT32_MAX, 1ull << 32, 32ull << 32, 33ull << 32, (uint64_t)UINT32_MAX << 32,
	33ull << 32 | 1,
};
static const uint64_t files[] = {
	FD(IMG_RW, 0), FD(IMG_RO, 0), FD(DIR, 0), FD(NEGATIVE, 0), FD(DEV_RW, 0), FD(DEV_RO, 2),
	FD(DEV_RW, 3), FD(NULL, 0),
#define FILES_FEW 8
	FD(IMG_WO, 0), FD(IMG_DIRECT, 0), FD(IMG_DIRECT_RO, 0), FD(IMG_APPEND, 0), FD(IMG_PATH, 0),
	FD(IMG_RW, 1), FD(IMG_RO, 1), FD(IMG_RW, 2), FD(IMG_RW, 3), FD(IMG_RW, 4), FD(IMG_RO, 5),
	FD(DEV_RO, 0), FD(DEV_RW, 1), FD(DEV_RO, 1), FD(DEV_RW, 2), FD(DEV_DIRECT, 2),
	FD(DEV_RO, 3), FD(PART, 0x01), FD(PART, 0x21), FD(HANDLE, 0), FD(NUMBER, 0),
	FD(NEGATIVE, 1), FD(NEGATIVE, 255), FD(HIGH_BITS, 0), FD(PIPE_R, 0), FD(PIPE_W, 0),
	FD(SOCKET, 0), FD(ZERO, 0), FD(PROC, 0), FD(MEMFD, 0), FD(CTL, 0),
};

static struct step *variant(struct sequence *q, enum op op, const char *name, uint64_t value)
{
	struct step *s = add(q);

	s->op = op;
	if (arg_index(op, "fd") >= 0)
		s->a[arg_index(op, "fd")] = FD(IMG_RW, 0);
	if (name)
		s->a[arg_index(op, name)] = value;
	return s;
}

static void variants(struct sequence *q, enum op op, const char *name, const uint64_t *values,
		     unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		variant(q, op, name, values[i]);
}

#define VARIANTS(q, op, name, values) variants(q, op, name, values, ARRAY_SIZE(values))

/* The arguments of an operation that takes a struct loop_info64. */
static void variants_info(struct sequence *q, enum op op, bool all)
{
	static const uint64_t few_offsets[] = { 0, 512, 1ull << 63 };
	static const uint64_t flags[] = { 0, 1, 4, 5, 8, 0xc, 0x10, 0x14, 0x1d, 0x1f, 2 };
	unsigned int i;

	for (i = MEM_NULL; i < MEM_KINDS; i++)
		variant(q, op, "mem", i);
	VARIANTS(q, op, "flags", flags);
	for (i = 1; i < 4; i++)
		variant(q, op, "name", i);
	variant(q, op, "crypt", 1);
	if (!all) {
		VARIANTS(q, op, "offset", few_offsets);
		VARIANTS(q, op, "sizelimit", few_offsets);
		return;
	}
	VARIANTS(q, op, "offset", offsets);
	VARIANTS(q, op, "sizelimit", offsets);
	VARIANTS(q, op, "crypt", crypts);
	for (i = 5; i < 32; i++)
		variant(q, op, "flags", 1u << i);
	/* Which error comes first. */
	set(variant(q, op, "flags", 0x80), "crypt", 1);
	set(variant(q, op, "offset", UINT64_MAX), "crypt", 18);
	set(variant(q, op, "flags", 2), "offset", UINT64_MAX);
	set(variant(q, op, "offset", 512), "flags", 0x1c);
	set(variant(q, op, "offset", 4096), "sizelimit", 8192);
	set(variant(q, op, "offset", 4096), "sizelimit", UINT64_MAX);
}

static void variants_make(struct sequence *q, const struct state *state, const struct mode *mode)
{
	static const uint64_t ints[] = { 0, 1, 511, 512, 4096, INT32_MAX, UINT32_MAX, 1u << 31 };
	static const uint64_t flags[] = { 0, 1, 2, 4, 8, 0x10, 0x1c, 0x20, 0x80000000 };
	static const uint64_t small[] = { 0, 1, 2, 1ull << 32, UINT64_MAX };
	static const uint64_t unknown[] = {
		0x4cff, 0x4c0b, 0x4c0c, 0x4c80, 0x4c81, 0x4c82, 0x4c83, 0x1234, 0,
		0x80004c00, 0xffffffff, 0x5301,
	};
	static const uint64_t numbers[] = {
		0, 1, 2, 3, 4, 6, UINT64_MAX, UINT64_MAX - 1, 1u << 20, INT32_MAX, 1u << 31,
		(1ull << 32) + 7,
	};
	static const uint64_t few_sizes[] = { 0, 512, 4096, 1234 };
	static const uint64_t few_numbers[] = { 0, 1, 5 };
	bool all = state->all && mode->flags == O_RDWR && !mode->unprivileged;
	unsigned int nfiles = all ? ARRAY_SIZE(files) : FILES_FEW, i;

	q->count = 0;
	for (i = MEM_GOOD; i < MEM_KINDS; i++) {
		variant(q, OP_get_status, "mem", i);
		variant(q, OP_get_status64, "mem", i);
		variant(q, OP_set_status, "mem", i);
	}
	VARIANTS(q, OP_raw, "cmd", unknown);
	VARIANTS(q, OP_ctl_raw, "cmd", unknown);
	VARIANTS(q, OP_set_capacity, "arg", small);
	VARIANTS(q, OP_set_dio, "arg", small);
	variants(q, OP_set_fd, "fd", files, nfiles);
	variants(q, OP_change_fd, "fd", files, nfiles);
	variants(q, OP_configure, "fd", files, nfiles);
	if (all) {
		VARIANTS(q, OP_set_bs, "arg", block_sizes);
		VARIANTS(q, OP_configure, "bs", block_sizes);
		VARIANTS(q, OP_ctl_add, "arg", numbers);
		VARIANTS(q, OP_ctl_remove, "arg", numbers);
	} else {
		VARIANTS(q, OP_set_bs, "arg", few_sizes);
		VARIANTS(q, OP_configure, "bs", few_sizes);
		VARIANTS(q, OP_ctl_add, "arg", few_numbers);
		VARIANTS(q, OP_ctl_remove, "arg", few_numbers);
	}
	variant(q, OP_ctl_free, "arg", 0);
	variant(q, OP_ctl_free, "arg", 77);
	variants_info(q, OP_set_status64, all);
	if (state->all || !strcmp(state->name, "exclusive-unbound"))
		variants_info(q, OP_configure, all);
	VARIANTS(q, OP_set_status, "offset", ints);
	VARIANTS(q, OP_set_status, "flags", flags);
	variant(q, OP_set_status, "type", 1);
	variant(q, OP_set_status, "type", 18);
	variant(q, OP_set_status, "type", 5);
	variant(q, OP_set_status, "keysize", 33);
	variant(q, OP_set_status, "keysize", UINT32_MAX);
	variant(q, OP_set_status, "name", 2);
	variant(q, OP_set_status, "name", 3);
	/* Which error comes first. */
	set(variant(q, OP_configure, "fd", FD(NEGATIVE, 0)), "flags", 2);
	set(variant(q, OP_configure, "fd", FD(DIR, 0)), "flags", 2);
	set(variant(q, OP_configure, "fd", FD(NULL, 0)), "crypt", 1);
	set(variant(q, OP_configure, "fd", FD(DEV_RW, 0)), "flags", 2);
	set(variant(q, OP_configure, "flags", 2), "bs", 1234);
	set(variant(q, OP_configure, "offset", UINT64_MAX), "bs", 1234);
	/* The block layer's own, which the driver has a part in. */
	variant(q, OP_rrpart, NULL, 0);
	variant(q, OP_flsbuf, NULL, 0);
	variant(q, OP_geometry, NULL, 0);
	set(variant(q, OP_pg_add, "pno", 5), "len", 16);
	variant(q, OP_pg_del, "pno", 1);
	variant(q, OP_roset, "arg", 1);
	variant(q, OP_roset, "arg", 0);
	set(variant(q, OP_discard, "off", 4096), "len", 4096);
	set(variant(q, OP_zeroout, "off", 4096), "len", 4096);
	set(variant(q, OP_write, "off", 1024), "len", 3000);
	variant(q, OP_read, "len", 8192);
	variant(q, OP_open, "h", 5);
	set(variant(q, OP_open, "h", 5), "flags", O_RDWR | O_EXCL);
	set(variant(q, OP_open, "h", 5), "flags", O_RDWR | O_DIRECT | O_NONBLOCK);
	set(variant(q, OP_open, "h", 5), "p", 1);
	variant(q, OP_poke, NULL, 0);
	for (i = 0; i < MAX_DEVICES; i += 3)
		variant(q, OP_opendead, "dev", i);
	variant(q, OP_clr_fd, NULL, 0);
	variant(q, OP_close, NULL, 0);
	if (!strcmp(state->name, "rundown")) {
		/* The known difference. */
		set(variant(q, OP_read, "len", 8192), "force", 1);
		variant(q, OP_fsync, "force", 1);
	}
}

/* Adds the steps of a state, with MODE replaced. */
static void state_steps(struct sequence *q, const struct state *state, unsigned int flags)
{
	const char *text = state->steps, *mode;
	char line[256];
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		mode = strstr(text, "MODE");
		if (mode && mode < text + n)
			snprintf(line, sizeof(line), "%.*s%lu", (int)(mode - text), text,
				 flags | strtoul(mode + strlen("MODE"), NULL, 0));
		else
			snprintf(line, sizeof(line), "%.*s", (int)n, text);
		if (!step_parse(line, add(q)))
			die("a state has a line that is no step: %s", line);
	}
}

static unsigned int steps_done;

/* SAMPLE=N: one of N cases, and of the next state or mode the ones after those. */
static unsigned int sample_size = 1, sample_begin;

/* Does one more step of a sequence. False if it showed a difference. */
static bool more(struct sequence *q, const struct step *st)
{
	struct difference d;

	*add(q) = *st;
	steps_done++;
	step_run(st);
	if (verbose)
		show(st);
	if (!differ(st, &d))
		return true;
	report(q, &d);
	return false;
}

/* Begins a sequence that leads to the state. */
static bool state_make(struct sequence *q, const struct state *state, const struct mode *mode)
{
	struct sequence setup = { NULL, 0, 0 };
	bool good = true;
	unsigned int i;

	state_steps(&setup, &before_all, 0);
	state_steps(&setup, state, mode->flags);
	q->count = 0;
	reset();
	for (i = 0; i < setup.count && good; i++)
		good = more(q, &setup.step[i]);
	free(setup.step);
	return good;
}

/*
 * One case after the other as long as they change nothing, which most of them
 * should not; then from the beginning.
 */
static void state_test(const struct state *state, const struct mode *mode)
{
	static const struct step look_at = { .op = OP_look }, snap = { .op = OP_snap },
		write_it = { .op = OP_write, .a = { 0, 512, 1536, 7 } },
		read_it = { .op = OP_read, .a = { 0, 0, 16384 } };
	struct sequence cases = { NULL, 0, 0 }, q = { NULL, 0, 0 };
	static char before[TEXT];
	unsigned int i, fails = 0, begun = steps_done;
	double begin = seconds();
	bool made = false;
	struct step s;

	snprintf(context, sizeof(context), "%.31s %s", state->name, mode->name);
	variants_make(&cases, state, mode);
	for (i = sample_begin++ % sample_size; i < cases.count; i += sample_size) {
		if (!made) {
			made = state_make(&q, state, mode) && more(&q, &look_at);
			if (!made && ++fails > 2)
				break;
			strcpy(before, sides[0].out.s);
			if (!made)
				continue;
		}
		s = cases.step[i];
		if (mode->unprivileged && arg_index(s.op, "u") >= 0)
			set(&s, "u", 1);
		made = more(&q, &s);
		if (!made)
			continue;
		/*
		 * It may have left something behind even if it failed, or have
		 * been done by one driver only (see the table).
		 */
		if ((s.op == OP_configure && arg(&s, "bs")) ||
		    (s.op == OP_set_status && mode->unprivileged)) {
			made = false;
			continue;
		}
		made = more(&q, &look_at);
		if (made && !strcmp(before, sides[0].out.s) && s.op != OP_open)
			continue;
		/* It has changed something. What is it like now? */
		if (made && more(&q, &write_it) && more(&q, &read_it))
			more(&q, &snap);
		made = false;
	}
	printf("# %s: %u cases, %u steps, %.1f s\n", context, cases.count / sample_size,
	       steps_done - begun, seconds() - begin);
	context[0] = 0;
	free(cases.step);
	free(q.step);
}

int systematic(const char *pattern)
{
	double begin = seconds();
	unsigned int i, m;

	sample_size = strtoul(getenv("SAMPLE") ?: "1", NULL, 0) ?: 1;
	states_read(getenv("STATES") ?: "loopdiff.states");
	for (i = 0; i < state_count; i++)
		for (m = 0; m < ARRAY_SIZE(modes); m++)
			if ((!pattern || !fnmatch(pattern, states[i].name, FNM_EXTMATCH)) &&
			    (states[i].all || modes[m].all_states))
				state_test(&states[i], &modes[m]);
	return summary(steps_done, begin);
}
