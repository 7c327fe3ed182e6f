// SPDX-License-Identifier: GPL-2.0
/*
 * Sequences of steps: runs them, makes them shorter, and reports what differs.
 */
#include "loopdiff.h"

struct step *add(struct sequence *q)
{
	if (q->count == q->room) {
		q->room = q->room ? 2 * q->room : 64;
		q->step = realloc(q->step, q->room * sizeof(*q->step));
		if (!q->step)
			die("memory");
	}
	memset(&q->step[q->count], 0, sizeof(*q->step));
	return &q->step[q->count++];
}

bool verbose;

void show(const struct step *st)
{
	char text[512];

	printf("#   %s\n", step_text(st, text, sizeof(text)));
	if (verbose)
		printf("# C:\n%s\n# Rust:\n%s\n", sides[0].out.s, sides[1].out.s);
}

/* Returns the number of steps up to the first difference, or 0. */
unsigned int sequence_run(const struct sequence *q, struct difference *d)
{
	unsigned int i;

	reset();
	for (i = 0; i < q->count; i++) {
		step_run(&q->step[i]);
		if (verbose)
			show(&q->step[i]);
		if (differ(&q->step[i], d))
			return i + 1;
	}
	return 0;
}

double seconds(void)
{
	struct timespec now = { 0, 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/*
 * Leaves out what is not needed for the difference, in halves, quarters and so
 * on, down to single steps.
 */
bool shrink(struct sequence *q, const struct difference *want)
{
	double end = seconds() + atof(getenv("SHRINK") ?: "60");
	struct difference d;
	struct sequence less = { NULL, 0, 0 };
	unsigned int chunk, at, n, i;
	bool progress_made;

	n = sequence_run(q, &d);
	if (!n || !same_kind(&d, want))
		return false;
	q->count = n;
	for (chunk = (n + 1) / 2; chunk; ) {
		progress_made = false;
		/* The last one shows the difference. */
		for (at = 0; at + 1 < q->count && seconds() < end; ) {
			less.count = 0;
			for (i = 0; i < q->count; i++)
				if (i < at || i >= at + chunk || i + 1 == q->count)
					*add(&less) = q->step[i];
			if (less.count < q->count) {
				n = sequence_run(&less, &d);
				if (n && same_kind(&d, want)) {
					q->count = n;
					memcpy(q->step, less.step, n * sizeof(*q->step));
					progress_made = true;
					continue;
				}
			}
			at += chunk;
		}
		if (chunk == 1 && !progress_made)
			break;
		chunk = chunk > 1 ? chunk / 2 : 1;
		if (seconds() >= end)
			break;
	}
	free(less.step);
	return true;
}

void reproducer_print(const struct sequence *q)
{
	char text[512];
	unsigned int i;

	printf("# reproducer, for loopdiff replay:\n");
	for (i = 0; i < q->count; i++)
		printf("%s\n", step_text(&q->step[i], text, sizeof(text)));
	printf("# end of the reproducer\n");
}

static struct found {
	struct difference d;
	unsigned int count;
} *found;
unsigned int found_count;

/*
 * Prints the sectors of a device that differ, and those of its file. They are
 * read from the page cache, from when the difference was found.
 */
static void contents_print(const struct difference *d)
{
	static char sector[4][512];
	static const char *const whose[] = { "C", "Rust", "file of C", "file of Rust" };
	unsigned int dev, i, k, shown = 0;
	char path[256], value[256];
	int fd[4];
	off_t at, offset;

	if (sscanf(d->aspect, "%u/contents", &dev) != 1)
		return;
	for (i = 0; i < 4; i++) {
		struct side *s = &sides[i % 2];

		if (i < 2)
			device_path(s, dev, 0, path);
		else if (attr_read(s, dev, WATCHED_LOOP - 1, path, sizeof(path)) < 0)
			path[0] = 0;
		path[strcspn(path, "\n")] = 0;
		fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (fd[i] >= 0)
			posix_fadvise(fd[i], 0, 0, POSIX_FADV_RANDOM);
	}
	offset = attr_read(&sides[0], dev, WATCHED_ALL, value, sizeof(value)) < 0 ?
		 0 : strtoll(value, NULL, 0);
	for (at = 0; pread(fd[0], sector[0], 512, at) == 512; at += 512) {
		if (pread(fd[1], sector[1], 512, at) == 512 && !memcmp(sector[0], sector[1], 512))
			continue;
		if (shown++ == 16)
			break;
		for (i = 2; i < 4; i++)
			if (pread(fd[i], sector[i], 512, at + offset) != 512)
				memset(sector[i], 0xee, 512);
		printf("#   sector %jd:", (intmax_t)at / 512);
		for (i = 0; i < 4; i++) {
			printf(" %s ", whose[i]);
			for (k = 0; k < 8; k++)
				printf("%02x", (unsigned char)sector[i][k]);
		}
		printf("\n");
	}
	for (i = 0; i < 4; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* Records a difference. Returns whether there was none like it. */
bool is_new(const struct difference *d)
{
	unsigned int i;

	for (i = 0; i < found_count; i++) {
		if (same_kind(&found[i].d, d) && !strcmp(found[i].d.value[0], d->value[0]) &&
		    !strcmp(found[i].d.value[1], d->value[1])) {
			found[i].count++;
			return false;
		}
	}
	found = realloc(found, (found_count + 1) * sizeof(*found));
	found[found_count++] = (struct found){ *d, 1 };
	return true;
}

void report(struct sequence *q, struct difference *d)
{
	char text[512];

	if (!is_new(d))
		return;
	printf("# difference %u: %s", found_count,
	       step_text(&q->step[q->count - 1], text, sizeof(text)));
	printf("%s%s\n", *context ? " @" : "", context);
	difference_print(d);
	contents_print(d);
	if (found_count > 25)
		return;
	if (!shrink(q, d))
		printf("# not seen again when repeated; all steps:\n");
	reproducer_print(q);
}

int summary(unsigned int steps, double begin)
{
	unsigned int i;

	known_print();
	for (i = 0; i < found_count; i++)
		if (found[i].count > 1)
			printf("# difference %u: %u times\n", i + 1, found[i].count);
	printf("# %u steps, %u differences, %.1f s\n", steps, found_count, seconds() - begin);
	return found_count != 0;
}
