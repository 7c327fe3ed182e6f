// SPDX-License-Identifier: GPL-2.0
/*
 * Compares the texts of both drivers. What is meant to differ is in a table.
 */
#include "loopdiff.h"

#include <fnmatch.h>

static struct known {
	char *op, *aspect, *value[2], *reason;
	unsigned int count;
} known[64];
static unsigned int known_count;

static char *trimmed(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	end = s + strlen(s);
	while (end > s && strchr(" \t\n", end[-1]))
		*--end = 0;
	return s;
}

void table_read(const char *path)
{
	char line[1024], *field[5], *p;
	FILE *f = fopen(path, "re");
	int i;

	if (!f)
		die("%s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		p = trimmed(line);
		if (!*p || *p == '#')
			continue;
		p = strdup(p);
		for (i = 0; i < 5; i++)
			field[i] = trimmed(i < 4 ? strsep(&p, "|") : p ? p : "");
		if (!*field[4])
			die("%s: a difference without a reason: %s", path, field[0]);
		if (known_count == ARRAY_SIZE(known))
			die("%s: too long", path);
		known[known_count++] = (struct known){
			field[0], field[1], { field[2], field[3] }, field[4], 0
		};
	}
	fclose(f);
}

static const char none[] = "(none)";

/* Returns where the line after this one begins, or the end. */
static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

/* Finds "aspect=" in a text of lines. Returns its value, and its length. */
static const char *value_of(const char *text, const char *aspect, size_t alen, size_t *len)
{
	for (; *text; text = next_line(text)) {
		if (!strncmp(text, aspect, alen) && text[alen] == '=') {
			*len = strcspn(text + alen + 1, "\n");
			return text + alen + 1;
		}
	}
	*len = strlen(none);
	return none;
}

char context[64];

static bool table_has(const char *op, const char *aspect, const char *c, const char *rust)
{
	const char *ret;
	char name[1024];
	unsigned int i;
	size_t len;

	ret = value_of(sides[0].out.s, "ret", 3, &len);
	snprintf(name, sizeof(name), "%s -> %.*s @%s", op, (int)len, ret, context);
	for (i = 0; i < known_count; i++) {
		struct known *k = &known[i];

		if (!fnmatch(k->op, name, 0) && !fnmatch(k->aspect, aspect, 0) &&
		    !fnmatch(k->value[0], c, 0) && !fnmatch(k->value[1], rust, 0)) {
			k->count++;
			return true;
		}
	}
	return false;
}

/* Compares the two texts. Fills in the first difference that is not known. */
bool differ(const struct step *st, struct difference *d)
{
	const struct side *c = &sides[0], *r = &sides[1];
	char op[512], cv[4096], rv[4096], aspect[128];
	const char *p, *next, *other, *found, *cp, *rp;
	size_t alen, clen, rlen;
	int pass;

	if (c->out.len == r->out.len && !memcmp(c->out.s, r->out.s, c->out.len))
		return false;
	step_text(st, op, sizeof(op));
	for (pass = 0; pass < 2; pass++) {
		/* Most lines are the same, and at the same place. */
		other = pass ? c->out.s : r->out.s;
		for (p = pass ? r->out.s : c->out.s; *p; p = next) {
			next = next_line(p);
			if (!strncmp(p, other, next - p)) {
				other += next - p;
				continue;
			}
			alen = strcspn(p, "=");
			cp = value_of(c->out.s, p, alen, &clen);
			rp = value_of(r->out.s, p, alen, &rlen);
			found = pass ? cp : rp;
			if (found != none)
				other = next_line(found);
			if (clen == rlen && !memcmp(cp, rp, clen))
				continue;
			snprintf(aspect, sizeof(aspect), "%.*s", (int)alen, p);
			snprintf(cv, sizeof(cv), "%.*s", (int)clen, cp);
			snprintf(rv, sizeof(rv), "%.*s", (int)rlen, rp);
			if (table_has(op, aspect, cv, rv))
				continue;
			d->any = true;
			d->op = st->op;
			strcpy(d->aspect, aspect);
			strcpy(d->value[0], cv);
			strcpy(d->value[1], rv);
			return true;
		}
	}
	return false;
}

/* The known differences that have been seen. */
void known_print(void)
{
	unsigned int i;

	for (i = 0; i < known_count; i++)
		if (known[i].count)
			printf("# known, %u times: %s\n", known[i].count, known[i].reason);
}

bool same_kind(const struct difference *a, const struct difference *b)
{
	if (a->op != b->op || strcmp(a->aspect, b->aspect))
		return false;
	/* Sizes and sums change as steps are left out; errors should not. */
	return strcmp(a->aspect, "ret") || (!strcmp(a->value[0], b->value[0]) &&
					    !strcmp(a->value[1], b->value[1]));
}

void difference_print(const struct difference *d)
{
	printf("#   %s\n#     C:    %s\n#     Rust: %s\n", d->aspect, d->value[0], d->value[1]);
}
