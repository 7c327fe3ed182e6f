// SPDX-License-Identifier: GPL-2.0
/*
 * Observations of a driver: sysfs, uevents, status, geometry, contents. All are
 * written as lines "aspect=value".
 */
#include "loopdiff.h"

#include <dirent.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

/* Looked at in each step, so they are kept open. */
const char *const watched[WATCHED_COUNT] = {
	/* of all devices */
	"diskseq", "size", "ro",
	/* of the device that a step was about, from WATCHED_ALL */
	"loop/offset", "loop/sizelimit", "loop/autoclear", "loop/partscan", "loop/dio",
	"loop/backing_file",
	/* from WATCHED_LOOP */
	"partscan", "queue/logical_block_size", "queue/physical_block_size",
	"queue/minimum_io_size", "queue/discard_granularity", "queue/discard_max_bytes",
	"queue/discard_max_hw_bytes", "queue/write_zeroes_max_bytes", "queue/rotational",
	"queue/write_cache", "queue/fua", "queue/dma_alignment", "queue/max_sectors_kb",
};

static int uevents = -1;
static struct stat dev_fs;

static int attr_open(const struct side *s, int dev, const char *attr)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/block/%s%d/%.200s", s->prefix, dev, attr);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Length, or -1. */
ssize_t attr_read(struct side *s, int dev, unsigned int i, char *out, size_t size)
{
	int *fd = &s->attr[dev][i], again;
	ssize_t n;

	for (again = 0; again < 2; again++) {
		if (*fd < 0)
			*fd = attr_open(s, dev, watched[i]);
		if (*fd < 0)
			return -1;
		n = pread(*fd, out, size - 1, 0);
		if (n >= 0) {
			out[n] = 0;
			return n;
		}
		/* That device, or its directory, has gone; there may be another. */
		close(*fd);
		*fd = -1;
	}
	return -1;
}

static void attrs_line(struct side *s, int dev, unsigned int from, unsigned int to)
{
	char value[4200], aspect[64];
	unsigned int i;

	for (i = from; i < to; i++) {
		if (attr_read(s, dev, i, value, sizeof(value)) < 0)
			strcpy(value, "(none)");
		else
			value[strcspn(value, "\n")] = 0;
		snprintf(aspect, sizeof(aspect), "%d/%s", dev, watched[i]);
		line_text(s, aspect, value);
		/* If one is missing, all are. */
		if (i == WATCHED_ALL && value[0] == '(' && to >= WATCHED_LOOP)
			i = WATCHED_LOOP - 1;
	}
}

bool looks_bound(struct side *s, int dev)
{
	char value[64];

	return attr_read(s, dev, WATCHED_ALL, value, sizeof(value)) >= 0;
}

void uevents_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int size = 8 << 20;

	uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			 NETLINK_KOBJECT_UEVENT);
	if (uevents < 0 || setsockopt(uevents, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    bind(uevents, (struct sockaddr *)&addr, sizeof(addr)))
		die("uevents: %m");
}

static const char *after(const char *line, const char *key)
{
	size_t len = strlen(key);

	return strncmp(line, key, len) ? NULL : line + len;
}

/* A device of that driver, or a partition of one; not, say, its control device. */
static bool is_device(const struct side *s, const char *name)
{
	const char *number = after(name, s->prefix);

	return number && *number >= '0' && *number <= '9';
}

/* Adds an event to the driver it is of. Returns the device, or -1. */
static void uevent_one(const char *msg, size_t len, unsigned int *seen)
{
	static const char *const ignored[] = {
		"ACTION=", "DEVPATH=", "SUBSYSTEM=", "SEQNUM=", "DISKSEQ=", "MAJOR=", "MINOR=",
		"DEVNAME=",
	};
	const char *p, *action = "", *name = NULL, *subsystem = "", *bdi = NULL;
	unsigned int i, major, minor;
	struct side *s = NULL;
	char bdi_name[32];

	for (p = msg; p < msg + len; p += strlen(p) + 1) {
		if (after(p, "ACTION="))
			action = after(p, "ACTION=");
		else if (after(p, "DEVNAME="))
			name = after(p, "DEVNAME=");
		else if (after(p, "SUBSYSTEM="))
			subsystem = after(p, "SUBSYSTEM=");
		else if (after(p, "DEVPATH=/devices/virtual/bdi/"))
			bdi = after(p, "DEVPATH=/devices/virtual/bdi/");
	}
	if (!strcmp(subsystem, "bdi") && bdi && sscanf(bdi, "%u:%u", &major, &minor) == 2) {
		for (i = 0; i < 2; i++)
			if (sides[i].major == major)
				s = &sides[i];
		snprintf(bdi_name, sizeof(bdi_name), "bdi%u", minor);
		name = bdi_name;
	} else if (!strcmp(subsystem, "block") && name) {
		for (i = 0; i < 2; i++)
			if (is_device(&sides[i], name))
				s = &sides[i];
		if (s) {
			i = strtoul(name + strlen(s->prefix), NULL, 10);
			if (i < MAX_DEVICES)
				*seen |= 1u << i;
			if (is_rust(s))
				name++;
		}
	}
	if (!s)
		return;
	put(&s->events, "[%s %s", action, name);
	for (p = msg + strlen(msg) + 1; p < msg + len; p += strlen(p) + 1) {
		for (i = 0; i < ARRAY_SIZE(ignored) && !after(p, ignored[i]); i++)
			;
		if (i == ARRAY_SIZE(ignored))
			put(&s->events, " %s", p);
	}
	put(&s->events, "]");
}

/* Returns the devices that events are about. */
unsigned int uevents_drain(void)
{
	static char msg[8192];
	unsigned int seen = 0;
	ssize_t n;

	while ((n = recv(uevents, msg, sizeof(msg) - 1, 0)) > 0) {
		msg[n] = 0;
		uevent_one(msg, n, &seen);
	}
	if (errno != EAGAIN)
		die("uevents: %m");
	return seen;
}

static uint64_t encode_dev(dev_t dev)
{
	uint64_t major = major(dev), minor = minor(dev);

	return (minor & 0xff) | major << 8 | (minor & ~0xffull) << 12;
}

static bool status_is(uint64_t dev, uint64_t ino, const struct stat *st)
{
	return ino == st->st_ino && dev == encode_dev(st->st_dev);
}

/* Which file it is; its stat. */
static const char *status_file(const struct side *s, uint64_t dev, uint64_t ino, struct stat *st)
{
	static char name[32];
	char path[64];
	int i, part;

	for (i = 0; i < IMAGES; i++) {
		*st = s->image[i];
		sprintf(name, "img%d", i);
		if (status_is(dev, ino, st))
			return name;
	}
	if (dev == encode_dev(dev_fs.st_dev)) {
		for (i = 0; i < MAX_DEVICES; i++) {
			for (part = 0; part < 5; part++) {
				if (stat(device_path(s, i, part, path), st))
					continue;
				sprintf(name, "dev%dp%d", i, part);
				if (status_is(dev, ino, st))
					return name;
			}
		}
	}
	*st = s->last;
	if (status_is(dev, ino, st))
		return "passed";
	memset(st, 0, sizeof(*st));
	sprintf(name, "unknown %" PRIx64 ":%" PRIu64, dev, ino);
	return name;
}

static void hex_line(struct side *s, const char *aspect, const void *data, size_t len)
{
	const unsigned char *p = data;

	put(&s->out, "%s=", aspect);
	if (all_bytes(data, 0, len))
		put(&s->out, "0");
	else
		while (len--)
			put(&s->out, "%02x", *p++);
	put(&s->out, "\n");
}

static void status_lines(struct side *s, uint64_t dev, uint64_t ino, uint64_t rdev)
{
	const char *file;
	struct stat st;

	file = status_file(s, dev, ino, &st);
	put(&s->out, "status.file=%s\n", file);
	if (rdev == encode_dev(st.st_rdev))
		put(&s->out, "status.rdevice=%s\n", rdev ? "its own" : "0");
	else
		put(&s->out, "status.rdevice=0x%" PRIx64 "\n", rdev);
}

void status64_lines(struct side *s, struct loop_info64 *i)
{
	put(&s->out, "status.number=%u\nstatus.offset=%" PRIu64 "\nstatus.sizelimit=%" PRIu64
	    "\nstatus.flags=0x%x\nstatus.crypt=%u:%u\n", i->lo_number, (uint64_t)i->lo_offset,
	    (uint64_t)i->lo_sizelimit, i->lo_flags, i->lo_encrypt_type, i->lo_encrypt_key_size);
	hex_line(s, "status.name", i->lo_file_name, sizeof(i->lo_file_name));
	hex_line(s, "status.rest", i->lo_crypt_name,
		 sizeof(*i) - offsetof(struct loop_info64, lo_crypt_name));
	status_lines(s, i->lo_device, i->lo_inode, i->lo_rdevice);
}

/* All of it, with its holes. */
void status_old_lines(struct side *s, struct loop_info *i)
{
	put(&s->out, "status.number=%d\nstatus.offset=%d\nstatus.flags=0x%x\nstatus.crypt=%d:%d\n",
	    i->lo_number, i->lo_offset, i->lo_flags, i->lo_encrypt_type, i->lo_encrypt_key_size);
	hex_line(s, "status.name", i->lo_name, sizeof(i->lo_name));
	hex_line(s, "status.rest", i->lo_encrypt_key,
		 sizeof(*i) - offsetof(struct loop_info, lo_encrypt_key));
	status_lines(s, i->lo_device, i->lo_inode, i->lo_rdevice);
	i->lo_number = 0;
	i->lo_offset = 0;
	i->lo_flags = 0;
	i->lo_encrypt_type = i->lo_encrypt_key_size = 0;
	i->lo_device = 0;
	i->lo_inode = 0;
	i->lo_rdevice = 0;
	memset(i->lo_name, 0, sizeof(i->lo_name));
	hex_line(s, "status.holes", i, sizeof(*i));
}

void geometry_lines(struct side *s, int fd)
{
	static const struct {
		const char *name;
		unsigned long cmd;
	} numbers[] = {
		{ "ssz", BLKSSZGET }, { "pbsz", BLKPBSZGET }, { "iomin", BLKIOMIN },
		{ "ioopt", BLKIOOPT }, { "align", BLKALIGNOFF }, { "ro", BLKROGET },
		{ "bsz", BLKBSZGET }, { "dzeroes", BLKDISCARDZEROES },
	};
	uint64_t size = 0xa5a5;
	unsigned short rotational = 0xa5a5, sectors = 0xa5a5;
	unsigned long old_size = 0xa5a5;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		int value = 0xa5a5, ret = ioctl(fd, numbers[i].cmd, &value);

		put(&s->out, "geometry.%s=%d %d\n", numbers[i].name, ret, value);
	}
	put(&s->out, "geometry.size64=%d", ioctl(fd, BLKGETSIZE64, &size));
	put(&s->out, " %" PRIu64 "\n", size);
	put(&s->out, "geometry.size=%d", ioctl(fd, BLKGETSIZE, &old_size));
	put(&s->out, " %lu\n", old_size);
	put(&s->out, "geometry.rotational=%d", ioctl(fd, BLKROTATIONAL, &rotational));
	put(&s->out, " %u\n", rotational);
	put(&s->out, "geometry.sectors=%d", ioctl(fd, BLKSECTGET, &sectors));
	put(&s->out, " %u\n", sectors);
}

/* Numbers that have to differ, counters, and what is looked at in each step. */
static bool snap_wanted(const char *name)
{
	static const char *const ignored[] = {
		"uevent", "dev", "stat", "inflight", "diskseq", "size", "ro",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ignored); i++)
		if (!strcmp(name, ignored[i]))
			return false;
	return name[0] != '.';
}

/* The names of all attributes that a device of either driver has. */
static struct {
	char name[64];
	int fd[2][DEVICES];
} snap_attr[160];
static unsigned int snap_attrs;

void snap_attrs_of(const struct side *s, const char *directory)
{
	char path[128], name[64];
	struct dirent *e;
	unsigned int i;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/block/%s0/%s", s->prefix, directory);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_type != DT_REG || !snap_wanted(e->d_name))
			continue;
		snprintf(name, sizeof(name), "%s%.50s", directory, e->d_name);
		for (i = 0; i < snap_attrs && strcmp(snap_attr[i].name, name); i++)
			;
		if (i < snap_attrs)
			continue;
		if (i == ARRAY_SIZE(snap_attr))
			die("too many attributes");
		strcpy(snap_attr[i].name, name);
		memset(snap_attr[i].fd, 0xff, sizeof(snap_attr[i].fd));
		snap_attrs++;
	}
	if (d)
		closedir(d);
}

static void snap_partition(struct side *s, int dev, const char *partition)
{
	static const char *const names[] = {
		"start", "size", "ro", "partition", "alignment_offset", "discard_alignment",
	};
	char path[512], aspect[64], value[64];
	unsigned int i;
	ssize_t n;
	int fd;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/sys/block/%s%d/%s/%s", s->prefix, dev, partition,
			 names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = read(fd, value, sizeof(value) - 1);
		snprintf(value + (n > 0 ? n : 0), 2, "%s", "");
		snprintf(aspect, sizeof(aspect), "%d/p%.20s/%s", dev,
			 partition + strlen(s->prefix), names[i]);
		line_text(s, aspect, n > 0 ? value : "(none)");
		if (fd >= 0)
			close(fd);
	}
}

static int is_directory(const struct dirent *e)
{
	return e->d_name[0] != '.' && (e->d_type == DT_DIR || e->d_type == DT_LNK);
}

static void snap_sysfs(struct side *s, int dev, const char *path)
{
	char value[4200], aspect[80];
	struct dirent **list;
	unsigned int i;
	int *fd, other, k;
	ssize_t n;

	for (i = 0; i < snap_attrs; i++) {
		other = -1;
		fd = dev < DEVICES ? &snap_attr[i].fd[is_rust(s)][dev] : &other;
		n = *fd < 0 ? -1 : pread(*fd, value, sizeof(value) - 1, 0);
		if (n < 0) {
			if (*fd >= 0)
				close(*fd);
			*fd = attr_open(s, dev, snap_attr[i].name);
			n = *fd < 0 ? -1 : pread(*fd, value, sizeof(value) - 1, 0);
		}
		/* Not all of them can be read. */
		snprintf(aspect, sizeof(aspect), "%d/%.63s", dev, snap_attr[i].name);
		if (n >= 0)
			value[n] = 0;
		else
			snprintf(value, sizeof(value), "%s", strerrorname_np(errno));
		value[strcspn(value, "\n")] = 0;
		line_text(s, aspect, value);
		if (other >= 0)
			close(other);
	}
	n = scandir(path, &list, is_directory, alphasort);
	put(&s->out, "%d/directories=", dev);
	for (k = 0; k < n; k++)
		if (!is_device(s, list[k]->d_name))
			put(&s->out, "%s ", list[k]->d_name);
	put(&s->out, "\n");
	for (k = 0; k < n; k++) {
		if (is_device(s, list[k]->d_name))
			snap_partition(s, dev, list[k]->d_name);
		free(list[k]);
	}
	if (n >= 0)
		free(list);
}

static void snap_contents(struct side *s, const char *aspect, int fd)
{
	uint64_t h = 0, size = 0;
	ssize_t n;

	/* See do_open() in do.c. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	while ((n = pread(fd, io_buffer, IO_MAX, size)) > 0) {
		h = h * 31 + hash(io_buffer, n);
		size += n;
	}
	put(&s->out, "%s=%" PRIu64 " bytes %016" PRIx64 "%s%s\n", aspect, size, h,
	    n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "");
}

static void snap_device(struct side *s, int dev)
{
	char path[300], aspect[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s%d", s->prefix, dev);
	put(&s->out, "%d=%s\n", dev, access(path, F_OK) ? "no" : "yes");
	if (access(path, F_OK))
		return;
	snap_sysfs(s, dev, path);
	device_path(s, dev, 0, path);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	put(&s->out, "%d/open.excl=%s\n", dev, fd < 0 ? strerrorname_np(errno) : "open");
	if (fd >= 0)
		close(fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	put(&s->out, "%d/open.rdwr=%s\n", dev, fd < 0 ? strerrorname_np(errno) : "open");
	if (fd >= 0)
		close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	put(&s->out, "%d/open=%s\n", dev, fd < 0 ? strerrorname_np(errno) : "open");
	if (fd < 0)
		return;
	snprintf(aspect, sizeof(aspect), "%d/contents", dev);
	snap_contents(s, aspect, fd);
	geometry_lines(s, fd);
	close(fd);
}

static void snap_partitions(struct side *s)
{
	char line[256], name[64];
	unsigned long long blocks;
	FILE *f = fopen("/proc/partitions", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*u %*u %llu %63s", &blocks, name) == 2 &&
		    is_device(s, name))
			put(&s->out, "/proc/partitions/%s=%llu\n",
			    name + strlen(s->prefix), blocks);
	if (f)
		fclose(f);
}

static void snap_nodes(struct side *s)
{
	struct dirent *e;
	DIR *d = opendir("/dev");
	unsigned int nodes = 0;
	uint64_t sum = 0;

	while (d && (e = readdir(d)))
		if (after(e->d_name, s->prefix)) {
			/* In any order. */
			sum += hash(e->d_name + strlen(s->prefix),
				    strlen(e->d_name + strlen(s->prefix)));
			nodes++;
		}
	closedir(d);
	put(&s->out, "/dev=%u nodes %016" PRIx64 "\n", nodes, sum);
}

void snap_lines(struct side *s)
{
	char path[256], aspect[32];
	int i, fd;

	for (i = 0; i < MAX_DEVICES; i++)
		if (touched_devices & 1u << i)
			snap_device(s, i);
	for (i = 0; i < IMAGES; i++) {
		if (!(touched_images & 1u << i))
			continue;
		fd = open(image_path(s, i, path), O_RDONLY | O_CLOEXEC);
		snprintf(aspect, sizeof(aspect), "img%d", i);
		snap_contents(s, aspect, fd);
		close(fd);
	}
	snap_partitions(s);
	snap_nodes(s);
}

void diskseq_lines(struct side *s)
{
	uint64_t max = diskseq_max, now;
	char value[64];
	int i;

	for (i = 0; i < MAX_DEVICES; i++) {
		if (i >= DEVICES && !(touched_devices & 1u << i))
			continue;
		if (attr_read(s, i, 0, value, sizeof(value)) < 0)
			continue;
		now = strtoull(value, NULL, 10);
		/* There is one counter for all devices. */
		if (now != s->diskseq[i])
			put(&s->out, "%d/diskseq=+%" PRIu64 "\n", i, now - diskseq_max);
		s->diskseq[i] = now;
		if (now > max)
			max = now;
	}
	diskseq_max = max;
}

/* Observations after each step. */
void look(struct side *s, unsigned int devices)
{
	int i;

	diskseq_lines(s);
	for (i = 0; i < MAX_DEVICES; i++) {
		if (i < DEVICES || touched_devices & 1u << i)
			attrs_line(s, i, 1, WATCHED_ALL);
		if (devices & 1u << i)
			attrs_line(s, i, WATCHED_ALL, ARRAY_SIZE(watched));
	}
}

/* Finds the attributes that devices of both drivers have. */
void observe_init(void)
{
	int i;

	if (stat("/dev", &dev_fs))
		die("/dev: %m");
	for (i = 0; i < 2; i++) {
		snap_attrs_of(&sides[i], "");
		snap_attrs_of(&sides[i], "queue/");
	}
}
