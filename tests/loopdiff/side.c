// SPDX-License-Identifier: GPL-2.0
/*
 * The two drivers: names of their devices, and how both are brought to the same
 * beginning.
 */
#include "loopdiff.h"

#include <linux/fs.h>

struct side sides[2] = { { .prefix = "loop" }, { .prefix = "rloop" } };
unsigned int touched_devices, touched_images;
bool rundown[MAX_DEVICES];
uint64_t diskseq_max;
struct progress *progress;

bool is_rust(const struct side *s)
{
	return s == &sides[1];
}

/* Replaces names and paths, which must differ, by their meaning. */
void normal_text(const struct side *s, const char *in, struct text *t)
{
	size_t dir = strlen(s->dir);

	while (*in) {
		if (!strncmp(in, s->dir, dir)) {
			put(t, "@");
			in += dir;
		} else if (is_rust(s) && !strncmp(in, "rloop", 5)) {
			in++;
		} else {
			put(t, *in == '\n' ? ";" : "%c", *in);
			in++;
		}
	}
}

void line_text(struct side *s, const char *aspect, const char *value)
{
	put(&s->out, "%s=", aspect);
	normal_text(s, value, &s->out);
	put(&s->out, "\n");
}

char *device_name(const struct side *s, int dev, int part, char *out)
{
	if (part)
		sprintf(out, "%s%dp%d", s->prefix, dev, part);
	else
		sprintf(out, "%s%d", s->prefix, dev);
	return out;
}

char *device_path(const struct side *s, int dev, int part, char *out)
{
	strcpy(out, "/dev/");
	device_name(s, dev, part, out + 5);
	return out;
}

char *image_path(const struct side *s, int img, char *out)
{
	sprintf(out, "%s/img%d", s->dir, img % IMAGES);
	return out;
}

static void side_detach(struct side *s)
{
	char path[64];
	int i, fd, round, left;

	for (i = 0; i < CHILDREN; i++)
		child_reap(s, i);
	for (i = 0; i < HANDLES; i++)
		handle_close(s, i);
	/* A device that another one is on goes after that. */
	for (round = 0; round < 6; round++) {
		left = 0;
		for (i = MAX_DEVICES - 1; i >= 0; i--) {
			if (!(touched_devices & 1u << i) || !looks_bound(s, i))
				continue;
			left++;
			fd = open(device_path(s, i, 0, path), O_RDWR | O_CLOEXEC);
			if (fd < 0)
				fd = open(path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			ioctl(fd, LOOP_CLR_FD, 0);
			close(fd);
		}
		if (!left)
			return;
	}
	die("%s: a device does not let go of its file", s->prefix);
}

/*
 * One complete cycle: a failed LOOP_CONFIGURE may have left something behind
 * that only a successful one clears.
 */
static void side_cycle(struct side *s, int dev)
{
	struct loop_config config = { .fd = 0 };
	char path[256];
	int fd, img, off = 0;

	fd = open(device_path(s, dev, 0, path), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	ioctl(fd, BLKROSET, &off);
	img = open(image_path(s, 0, path), O_RDWR | O_CLOEXEC);
	config.fd = img;
	if (ioctl(fd, LOOP_CONFIGURE, &config) || ioctl(fd, LOOP_CLR_FD, 0))
		die("%s%d cannot be reset: %m", s->prefix, dev);
	close(img);
	close(fd);
}

static void side_reset(struct side *s)
{
	char path[64];
	int i;

	side_detach(s);
	for (i = 0; i < IMAGES; i++)
		if (touched_images & 1u << i)
			image_reset(s, i);
	for (i = 0; i < MAX_DEVICES; i++) {
		if (!(touched_devices & 1u << i))
			continue;
		if (i >= DEVICES) {
			ioctl(s->ctl, LOOP_CTL_REMOVE, i);
			continue;
		}
		if (access(device_path(s, i, 0, path), F_OK) &&
		    ioctl(s->ctl, LOOP_CTL_ADD, i) < 0)
			die("%s%d cannot be added: %m", s->prefix, i);
		side_cycle(s, i);
	}
}

void reset(void)
{
	int i, dev;

	progress->count++;
	strcpy(progress->step, "reset");
	for (i = 0; i < 2; i++)
		side_reset(&sides[i]);
	sides[0].events.len = sides[1].events.len = 0;
	uevents_drain();
	touched_devices = touched_images = 0;
	memset(rundown, 0, sizeof(rundown));
	diskseq_max = 0;
	for (i = 0; i < 2; i++) {
		struct side *s = &sides[i];

		for (dev = 0; dev < MAX_DEVICES; dev++) {
			char value[64];

			s->diskseq[dev] = 0;
			if (dev >= DEVICES && s->attr[dev][0] < 0)
				continue;
			if (attr_read(s, dev, 0, value, sizeof(value)) >= 0)
				s->diskseq[dev] = strtoull(value, NULL, 10);
			if (s->diskseq[dev] > diskseq_max)
				diskseq_max = s->diskseq[dev];
		}
	}
}

static unsigned int major_of(const char *prefix)
{
	char line[128], name[64];
	unsigned int major, found = 0;
	bool block = false;
	FILE *f = fopen("/proc/devices", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Block", 5))
			block = true;
		if (block && sscanf(line, "%u %63s", &major, name) == 2 && !strcmp(name, prefix))
			found = major;
	}
	if (f)
		fclose(f);
	return found;
}

void side_init(struct side *s, const char *work)
{
	char path[64];
	int i;

	snprintf(s->dir, sizeof(s->dir), "%s/%c", work, is_rust(s) ? 'r' : 'c');
	if (mkdir(s->dir, 0700) && errno != EEXIST)
		die("%s: %m", s->dir);
	s->major = major_of(s->prefix);
	if (!s->major)
		die("there is no driver of /dev/%s*", s->prefix);
	snprintf(path, sizeof(path), "/dev/%s-control", s->prefix);
	s->ctl = open(path, O_RDWR | O_CLOEXEC);
	if (s->ctl < 0)
		die("%s: %m", path);
	memset(s->attr, 0xff, sizeof(s->attr));
	memset(s->fd, 0xff, sizeof(s->fd));
	memset(s->dev, 0xff, sizeof(s->dev));
	for (i = 0; i < IMAGES; i++)
		image_reset(s, i);
}
