// SPDX-License-Identifier: GPL-2.0
/*
 * Steps: plain data, and how they are written in a line of text.
 */
#include "loopdiff.h"

#include <linux/blkpg.h>
#include <linux/fs.h>

struct operation ops[] = {
#define X(name, function, command, args) { #name, args, do_##function, command, { NULL }, 0 },
	OPS(X)
#undef X
};

static const char *const fd_kinds[] = {
	"img-rw", "img-ro", "img-wo", "img-direct", "img-direct-ro", "img-append",
	"img-path", "dev-rw", "dev-ro", "dev-direct", "part", "handle", "number",
	"negative", "high-bits", "dir", "pipe-r", "pipe-w", "socket", "null", "zero",
	"proc", "sysfs", "memfd", "ctl",
};

void ops_init(void)
{
	char *copy, *word;
	unsigned int i;

	for (i = 0; i < OP_COUNT; i++) {
		copy = strdup(ops[i].args);
		for (word = strtok(copy, " "); word; word = strtok(NULL, " "))
			ops[i].arg[ops[i].nargs++] = word;
	}
}

int arg_index(enum op op, const char *name)
{
	int i;

	for (i = 0; i < ops[op].nargs; i++)
		if (!strcmp(ops[op].arg[i], name))
			return i;
	return -1;
}

/* The argument of that name; 0 if the operation has none. */
uint64_t arg(const struct step *s, const char *name)
{
	int i = arg_index(s->op, name);

	return i < 0 ? 0 : s->a[i];
}

void set(struct step *s, const char *name, uint64_t value)
{
	s->a[arg_index(s->op, name)] = value;
}

char *step_text(const struct step *s, char *out, size_t size)
{
	const char *name;
	uint64_t v;
	size_t n;
	int i;

	n = snprintf(out, size, "%s", ops[s->op].name);
	for (i = 0; i < ops[s->op].nargs && n < size; i++) {
		name = ops[s->op].arg[i];
		v = s->a[i];
		if (!strcmp(name, "fd"))
			n += snprintf(out + n, size - n, " fd=%s:%d",
				      fd_kinds[(v >> 8) % FD_KINDS], (int)(v & 255));
		else if (!v && strcmp(name, "h") && strcmp(name, "dev") && strcmp(name, "arg"))
			continue;
		else if (!strcmp(name, "flags") || !strcmp(name, "cmd"))
			n += snprintf(out + n, size - n, " %s=0x%" PRIx64, name, v);
		else
			n += snprintf(out + n, size - n, " %s=%" PRIu64, name, v);
	}
	return out;
}

bool step_parse(char *line, struct step *s)
{
	char *word, *value, *save, *colon;
	bool comment = false;
	unsigned int i;
	int n;

	memset(s, 0, sizeof(*s));
	/* A reproducer may come from a test's output, which is all comments. */
	while (*line == '#' || *line == ' ')
		comment |= *line++ == '#';
	line[strcspn(line, "#\n")] = 0;
	word = strtok_r(line, " \t", &save);
	if (!word)
		return false;
	for (i = 0; i < OP_COUNT && strcmp(word, ops[i].name); i++)
		;
	if (i == OP_COUNT && comment)
		return false;
	if (i == OP_COUNT)
		die("no operation is called '%s'", word);
	s->op = i;
	while ((word = strtok_r(NULL, " \t", &save))) {
		value = strchr(word, '=');
		if (!value)
			die("'%s' has no value", word);
		*value++ = 0;
		n = arg_index(s->op, word);
		if (n < 0)
			die("%s has no argument '%s'", ops[s->op].name, word);
		if (strcmp(word, "fd")) {
			s->a[n] = strtoull(value, NULL, 0);
			continue;
		}
		colon = strchr(value, ':');
		if (colon)
			*colon++ = 0;
		for (i = 0; i < FD_KINDS && strcmp(value, fd_kinds[i]); i++)
			;
		if (i == FD_KINDS)
			die("no file is called '%s'", value);
		s->a[n] = (uint64_t)i << 8 | (colon ? atoi(colon) : 0);
	}
	return true;
}
