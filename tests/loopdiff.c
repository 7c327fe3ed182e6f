// SPDX-License-Identifier: GPL-2.0
/*
 * Drives the C driver (loop) and rust_loop through the same steps and compares
 * all that can be seen of them from user space.
 *
 *	loopdiff systematic [STATE]	every ioctl in every state with every
 *					kind of argument; STATE is a glob
 *	loopdiff random			SEED= STEPS= LENGTH= ONLY= WITHOUT=
 *	loopdiff replay FILE		what one of the others printed
 *
 * A step is plain data: an operation and numbers. It never depends on a result,
 * so any subset of a sequence is a sequence; that is what makes shrinking
 * possible. A step is done to one driver, then to the other. Each time, what
 * can be seen is written as lines "aspect=value" with everything replaced that
 * must differ (names, inode and device numbers, paths), and the two texts have
 * to be equal. loopdiff.table has the differences that are meant.
 *
 * Environment of all modes: TABLE= the table, WORKDIR= where the image files
 * are made, SHRINK= seconds for one reproducer, VERBOSE=1 prints every step.
 */
#define _GNU_SOURCE
/* The same types in 32 bits. */
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <linux/blkpg.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum {
	DEVICES = 4,		/* that there are after a reset */
	MAX_DEVICES = 8,	/* that a sequence may add up to */
	HANDLES = 12,
	CHILDREN = 3,
	IMAGES = 6,
	MAX_ARGS = 10,
	TEXT = 1 << 16,
	IO_MAX = 1 << 17,
};

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! loopdiff: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(2);
}

/* ---- text ------------------------------------------------------------------ */

struct text {
	size_t len;
	char s[TEXT];
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
	size_t room = sizeof(t->s) - t->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		die("a step's text is too long");
	t->len += n;
}

static uint64_t hash(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = 0x9e3779b97f4a7c15ull ^ len, w;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	for (; len; p++, len--)
		h = (h ^ *p) * 0x100000001b3ull;
	return h ^ (h >> 29);
}

static bool all_bytes(const void *data, unsigned char byte, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		if (*p++ != byte)
			return false;
	return true;
}

/* ---- steps ----------------------------------------------------------------- */

#define OPS(X)								\
	X(open,		"h dev p flags u")				\
	X(close,	"h")						\
	X(fork,		"k")						\
	X(reap,		"k")						\
	X(set_fd,	"h fd u")					\
	X(clr_fd,	"h nosync u")					\
	X(set_status,	"h mem offset type keysize flags name u")	\
	X(get_status,	"h mem u")					\
	X(set_status64,	"h mem offset sizelimit crypt flags name u")	\
	X(get_status64,	"h mem u")					\
	X(change_fd,	"h fd u")					\
	X(set_capacity,	"h arg u")					\
	X(set_dio,	"h arg u")					\
	X(set_bs,	"h arg u")					\
	X(configure,	"h fd mem bs offset sizelimit flags crypt name u") \
	X(raw,		"h cmd arg u")					\
	X(ctl_add,	"arg u")					\
	X(ctl_remove,	"arg u")					\
	X(ctl_free,	"arg u")					\
	X(ctl_raw,	"cmd arg u")					\
	X(read,		"h off len force")				\
	X(write,	"h off len pat force")				\
	X(fsync,	"h force")					\
	X(discard,	"h off len force")				\
	X(zeroout,	"h off len force")				\
	X(flsbuf,	"h force u")					\
	X(rrpart,	"h force u")					\
	X(pg_add,	"h pno start len u")				\
	X(pg_del,	"h pno u")					\
	X(roset,	"h arg u")					\
	X(geometry,	"h")						\
	X(look,		"h")						\
	X(trunc,	"img size")					\
	X(fwrite,	"img off len pat")				\
	X(ptable,	"img kind")					\
	X(poke,		"dev")						\
	X(opendead,	"dev")						\
	X(snap,		"")

enum op {
#define X(name, args) OP_##name,
	OPS(X)
#undef X
	OP_COUNT
};

static struct {
	const char *name, *args;
	const char *arg[MAX_ARGS];
	int nargs;
} ops[] = {
#define X(name, args) { #name, args, { NULL }, 0 },
	OPS(X)
#undef X
};

struct step {
	enum op op;
	uint64_t a[MAX_ARGS];
};

/* What is passed as a file descriptor; the low byte of the number says which. */
enum fd_kind {
	FD_IMG_RW, FD_IMG_RO, FD_IMG_WO, FD_IMG_DIRECT, FD_IMG_DIRECT_RO, FD_IMG_APPEND,
	FD_IMG_PATH, FD_DEV_RW, FD_DEV_RO, FD_DEV_DIRECT, FD_PART, FD_HANDLE, FD_NUMBER,
	FD_NEGATIVE, FD_HIGH_BITS, FD_DIR, FD_PIPE_R, FD_PIPE_W, FD_SOCKET, FD_NULL, FD_ZERO,
	FD_PROC, FD_SYSFS, FD_MEMFD, FD_CTL, FD_KINDS
};

static const char *const fd_kinds[] = {
	"img-rw", "img-ro", "img-wo", "img-direct", "img-direct-ro", "img-append",
	"img-path", "dev-rw", "dev-ro", "dev-direct", "part", "handle", "number",
	"negative", "high-bits", "dir", "pipe-r", "pipe-w", "socket", "null", "zero",
	"proc", "sysfs", "memfd", "ctl",
};

#define FD(kind, index) ((uint64_t)FD_##kind << 8 | (index))

static void ops_init(void)
{
	char *copy, *word;
	unsigned int i;

	for (i = 0; i < OP_COUNT; i++) {
		copy = strdup(ops[i].args);
		for (word = strtok(copy, " "); word; word = strtok(NULL, " "))
			ops[i].arg[ops[i].nargs++] = word;
	}
}

static int arg_index(enum op op, const char *name)
{
	int i;

	for (i = 0; i < ops[op].nargs; i++)
		if (!strcmp(ops[op].arg[i], name))
			return i;
	return -1;
}

/* The argument of that name; 0 if the operation has none. */
static uint64_t arg(const struct step *s, const char *name)
{
	int i = arg_index(s->op, name);

	return i < 0 ? 0 : s->a[i];
}

static char *step_text(const struct step *s, char *out, size_t size)
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

static bool step_parse(char *line, struct step *s)
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

/* ---- the two drivers ------------------------------------------------------- */

/* Looked at in each step, so they are kept open. */
static const char *const watched[] = {
	/* of all devices */
	"diskseq", "size", "ro",
	/* of the device that a step was about */
#define WATCHED_ALL 3
	"loop/offset", "loop/sizelimit", "loop/autoclear", "loop/partscan", "loop/dio",
	"loop/backing_file",
#define WATCHED_LOOP 9
	"partscan", "queue/logical_block_size", "queue/physical_block_size",
	"queue/minimum_io_size", "queue/discard_granularity", "queue/discard_max_bytes",
	"queue/discard_max_hw_bytes", "queue/write_zeroes_max_bytes", "queue/rotational",
	"queue/write_cache", "queue/fua", "queue/dma_alignment", "queue/max_sectors_kb",
};

struct side {
	const char *prefix;
	char dir[128];
	int ctl;
	unsigned int major;
	int fd[HANDLES];
	int dev[HANDLES];	/* whose handle it is; -1 if it is not open */
	pid_t child[CHILDREN];
	int leash[CHILDREN];
	int attr[MAX_DEVICES][ARRAY_SIZE(watched)];
	uint64_t diskseq[MAX_DEVICES];
	struct stat image[IMAGES];
	struct stat last;	/* the file that was passed last */
	struct text out;
	struct text events;
};

static struct side sides[2] = { { .prefix = "loop" }, { .prefix = "rloop" } };
static struct stat dev_fs;
static int uevents = -1;
static uint64_t diskseq_max;
static unsigned int touched_devices, touched_images;
/* LOOP_CLR_FD was done by the only opener, who still has it open. */
static bool rundown[MAX_DEVICES];
static char *io_buffer, *bounds;
static size_t page;

/* Shared with the process that watches for steps that do not end. */
static struct {
	volatile unsigned long count;
	char step[512];
	char side[16];
} *progress;

static bool is_rust(const struct side *s)
{
	return s == &sides[1];
}

/* What must differ is replaced by what it means. */
static void normal_text(const struct side *s, const char *in, struct text *t)
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

static void line_text(struct side *s, const char *aspect, const char *value)
{
	put(&s->out, "%s=", aspect);
	normal_text(s, value, &s->out);
	put(&s->out, "\n");
}

static char *device_name(const struct side *s, int dev, int part, char *out)
{
	if (part)
		sprintf(out, "%s%dp%d", s->prefix, dev, part);
	else
		sprintf(out, "%s%d", s->prefix, dev);
	return out;
}

static char *device_path(const struct side *s, int dev, int part, char *out)
{
	strcpy(out, "/dev/");
	device_name(s, dev, part, out + 5);
	return out;
}

static char *image_path(const struct side *s, int img, char *out)
{
	sprintf(out, "%s/img%d", s->dir, img % IMAGES);
	return out;
}

/* ---- images ---------------------------------------------------------------- */

/*
 * Two of one size, for LOOP_CHANGE_FD; not a whole number of sectors; with
 * partitions; less than a sector; sectors but not pages.
 */
static const unsigned int image_size[IMAGES] = { 262144, 262144, 200000, 1048576, 300, 100352 };

static void fill(char *p, size_t len, uint64_t seed)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull;

	for (; len >= 8; p += 8, len -= 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p, &x, 8);
	}
	memset(p, (int)seed, len);
}

static void partition_table(char *sector, int kind)
{
	/* start and length of each partition, in sectors */
	static const uint32_t layouts[][4][2] = {
		{ { 0 } },
		{ { 8, 64 } },
		{ { 8, 64 }, { 128, 100 } },
		{ { 16, 32 }, { 0 }, { 100, 1000000 } },
		{ { 8, 64 }, { 32, 64 } },
	};
	int i;

	memset(sector, 0, 512);
	if (kind <= 0 || kind >= (int)ARRAY_SIZE(layouts))
		return;
	for (i = 0; i < 4; i++) {
		char *entry = sector + 446 + 16 * i;

		if (!layouts[kind][i][1])
			continue;
		entry[4] = (char)0x83;
		memcpy(entry + 8, &layouts[kind][i][0], 4);
		memcpy(entry + 12, &layouts[kind][i][1], 4);
	}
	sector[510] = 0x55;
	sector[511] = (char)0xaa;
}

static void image_reset(struct side *s, int img)
{
	static char data[IMAGES][65536];
	size_t len = image_size[img] < sizeof(data[0]) ? image_size[img] : sizeof(data[0]);
	char path[256];
	int fd;

	if (!data[img][len - 1] && !data[img][len / 2]) {
		fill(data[img], len, img + 100);
		partition_table(data[img], img == 3 ? 2 : 0);
		if (img == 4)
			fill(data[img], len, img);
	}
	fd = open(image_path(s, img, path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data[img], len, 0) != (ssize_t)len ||
	    ftruncate(fd, image_size[img]) || fstat(fd, &s->image[img]))
		die("%s: %m", path);
	close(fd);
}

/* ---- sysfs ----------------------------------------------------------------- */

static int attr_open(const struct side *s, int dev, const char *attr)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/block/%s%d/%s", s->prefix, dev, attr);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Length, or -1. */
static ssize_t attr_read(struct side *s, int dev, unsigned int i, char *out, size_t size)
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

static bool looks_bound(struct side *s, int dev)
{
	char value[64];

	return attr_read(s, dev, WATCHED_ALL, value, sizeof(value)) >= 0;
}

/* ---- uevents --------------------------------------------------------------- */

static void uevents_open(void)
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
static unsigned int uevents_drain(void)
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

/* ---- files to pass --------------------------------------------------------- */

static int fd_make(struct side *s, uint64_t spec)
{
	static const int image_flags[] = {
		[FD_IMG_RW] = O_RDWR, [FD_IMG_RO] = O_RDONLY, [FD_IMG_WO] = O_WRONLY,
		[FD_IMG_DIRECT] = O_RDWR | O_DIRECT, [FD_IMG_DIRECT_RO] = O_RDONLY | O_DIRECT,
		[FD_IMG_APPEND] = O_RDWR | O_APPEND, [FD_IMG_PATH] = O_PATH,
	};
	unsigned int kind = spec >> 8, index = spec & 255;
	char path[256];
	int pipes[2];

	switch (kind) {
	case FD_IMG_RW ... FD_IMG_PATH:
		touched_images |= 1u << index % IMAGES;
		return open(image_path(s, index, path), image_flags[kind] | O_CLOEXEC);
	case FD_DEV_RW:
	case FD_DEV_RO:
	case FD_DEV_DIRECT:
		if (index < MAX_DEVICES)
			touched_devices |= 1u << index;
		return open(device_path(s, index, 0, path), O_CLOEXEC |
			    (kind == FD_DEV_RO ? O_RDONLY : O_RDWR) |
			    (kind == FD_DEV_DIRECT ? O_DIRECT : 0));
	case FD_PART:
		return open(device_path(s, index >> 4, index & 15, path), O_RDWR | O_CLOEXEC);
	case FD_HANDLE:
		return s->fd[index % HANDLES];
	case FD_NUMBER:
		return 5000 + index;
	case FD_NEGATIVE:
		return -1 - (int)index;
	case FD_DIR:
		return open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case FD_PIPE_R:
	case FD_PIPE_W:
		if (pipe2(pipes, O_CLOEXEC))
			return -1;
		close(pipes[kind == FD_PIPE_R]);
		return pipes[kind == FD_PIPE_W];
	case FD_SOCKET:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case FD_NULL:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case FD_ZERO:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	case FD_PROC:
		return open("/proc/version", O_RDONLY | O_CLOEXEC);
	case FD_SYSFS:
		return open("/sys/kernel/uevent_seqnum", O_RDONLY | O_CLOEXEC);
	case FD_MEMFD: {
		int fd = memfd_create("loopdiff", MFD_CLOEXEC);

		if (fd >= 0 && ftruncate(fd, 65536))
			die("memfd: %m");
		return fd;
	}
	case FD_CTL:
		return s->ctl;
	case FD_HIGH_BITS:
		/* An int is taken of it: the rest must not matter. */
		touched_images |= 1u << index % IMAGES;
		return open(image_path(s, index, path), O_RDWR | O_CLOEXEC);
	}
	return -1;
}

static void fd_drop(uint64_t spec, int fd)
{
	switch (spec >> 8) {
	case FD_HANDLE:
	case FD_NUMBER:
	case FD_NEGATIVE:
	case FD_CTL:
		return;
	}
	if (fd >= 0)
		close(fd);
}

/* ---- arguments in memory --------------------------------------------------- */

enum { MEM_GOOD, MEM_NULL, MEM_BAD, MEM_HALF, MEM_READ_ONLY, MEM_KERNEL, MEM_KINDS };

/* Where data of that size is to be passed from or to. */
static void *mem_place(unsigned int kind, const void *data, size_t size)
{
	char *place;

	switch (kind) {
	case MEM_NULL:
		return NULL;
	case MEM_BAD:
		return (void *)8;
	case MEM_KERNEL:
		return (void *)(intptr_t)-4096;
	case MEM_HALF:
		/* The next page cannot be accessed. */
		place = bounds + page - size / 2;
		memcpy(place, data, size / 2);
		return place;
	case MEM_READ_ONLY:
		place = bounds + 2 * page;
		mprotect(place, page, PROT_READ | PROT_WRITE);
		memcpy(place, data, size);
		mprotect(place, page, PROT_READ);
		return place;
	}
	place = bounds;
	memcpy(place, data, size);
	return place;
}

static void name_fill(unsigned char *name, unsigned int kind)
{
	memset(name, 0, LO_NAME_SIZE);
	switch (kind) {
	case 0:
		break;
	case 1:
		memcpy(name, "some name", 9);
		break;
	case 2:
		memset(name, 'x', LO_NAME_SIZE);
		break;
	default:
		memset(name, 0xff, LO_NAME_SIZE);
		name[3] = 0;
		name[63] = 1;
	}
}

/* crypt: the type in the low half, the size of the key in the high half. */
static void info64_fill(const struct step *st, struct loop_info64 *info)
{
	uint64_t crypt = arg(st, "crypt");

	memset(info, 0, sizeof(*info));
	/* Output only. */
	info->lo_device = 0x1111;
	info->lo_inode = 0x2222;
	info->lo_rdevice = 0x3333;
	info->lo_number = 0x4444;
	info->lo_offset = arg(st, "offset");
	info->lo_sizelimit = arg(st, "sizelimit");
	info->lo_encrypt_type = (uint32_t)crypt;
	info->lo_encrypt_key_size = crypt >> 32;
	info->lo_flags = arg(st, "flags");
	name_fill(info->lo_file_name, arg(st, "name"));
	memset(info->lo_crypt_name, 'c', sizeof(info->lo_crypt_name));
	memset(info->lo_encrypt_key, 'k', sizeof(info->lo_encrypt_key));
	info->lo_init[0] = 7;
}

/* ---- what a status says ---------------------------------------------------- */

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

static void status64_lines(struct side *s, struct loop_info64 *i)
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
static void status_old_lines(struct side *s, struct loop_info *i)
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

/* ---- doing a step ---------------------------------------------------------- */

static void result(struct side *s, long ret)
{
	int err = errno;

	if (ret < 0)
		put(&s->out, "ret=%s\n", strerrorname_np(err));
	else
		put(&s->out, "ret=%ld\n", ret);
}

/* The handle that a step names. -1, then a call fails with EBADF. */
static int handle(const struct side *s, const struct step *st)
{
	return s->fd[arg(st, "h") % HANDLES];
}

static int handle_device(const struct side *s, const struct step *st)
{
	if (arg_index(st->op, "h") >= 0)
		return s->dev[arg(st, "h") % HANDLES];
	if (arg_index(st->op, "dev") >= 0)
		return (int)(arg(st, "dev") % MAX_DEVICES);
	return -1;
}

static void capability(bool on)
{
	static struct __user_cap_data_struct all[2];
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (!all[0].permitted && syscall(SYS_capget, &head, all))
		die("capget: %m");
	memcpy(data, all, sizeof(data));
	if (!on)
		data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &head, data))
		die("capset: %m");
}

static void do_close(struct side *s, int h)
{
	if (s->fd[h] >= 0)
		close(s->fd[h]);
	s->fd[h] = s->dev[h] = -1;
}

static void do_open(struct side *s, const struct step *st)
{
	int h = arg(st, "h") % HANDLES, dev = arg(st, "dev") % MAX_DEVICES;
	uint64_t flags = arg(st, "flags");
	char path[64];

	do_close(s, h);
	s->fd[h] = open(device_path(s, dev, arg(st, "p") % 16, path), (int)flags | O_CLOEXEC);
	if (s->fd[h] >= 0) {
		s->dev[h] = dev;
		/*
		 * What is read ahead is still being read when the step is over, and
		 * whether the next one is before or after that is a matter of luck.
		 */
		posix_fadvise(s->fd[h], 0, 0, POSIX_FADV_RANDOM);
	}
	put(&s->out, "ret=%s\n", s->fd[h] < 0 ? strerrorname_np(errno) : "open");
}

static void do_fork(struct side *s, const struct step *st)
{
	int k = arg(st, "k") % CHILDREN, i, leash[2];
	struct side *other = &sides[!is_rust(s)];
	char byte;

	if (s->child[k] > 0)
		return;
	if (pipe2(leash, O_CLOEXEC))
		die("pipe: %m");
	s->child[k] = fork();
	if (s->child[k] < 0)
		die("fork: %m");
	if (!s->child[k]) {
		close(leash[1]);
		for (i = 0; i < HANDLES; i++)
			if (other->fd[i] >= 0)
				close(other->fd[i]);
		for (i = 0; i < CHILDREN; i++) {
			if (i != k && s->child[i] > 0)
				close(s->leash[i]);
			if (other->child[i] > 0)
				close(other->leash[i]);
		}
		while (read(leash[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	close(leash[0]);
	s->leash[k] = leash[1];
}

static void do_reap(struct side *s, int k)
{
	if (s->child[k] <= 0)
		return;
	close(s->leash[k]);
	while (waitpid(s->child[k], NULL, 0) < 0 && errno == EINTR)
		;
	s->child[k] = 0;
}

static void do_with_fd(struct side *s, const struct step *st, unsigned long cmd)
{
	uint64_t spec = arg(st, "fd");
	int fd = fd_make(s, spec);
	unsigned long value = (unsigned int)fd;
	struct stat now;

	if (fd >= 0 && !fstat(fd, &now))
		s->last = now;
	if (spec >> 8 == FD_HIGH_BITS && sizeof(value) > 4)
		value |= (unsigned long)0x12345ull << 16 << 16;
	result(s, ioctl(handle(s, st), cmd, value));
	fd_drop(spec, fd);
}

static void do_configure(struct side *s, const struct step *st)
{
	uint64_t spec = arg(st, "fd");
	struct loop_config config;
	struct stat now;
	int fd = fd_make(s, spec);

	if (fd >= 0 && !fstat(fd, &now))
		s->last = now;
	memset(&config, 0, sizeof(config));
	config.fd = fd;
	config.block_size = arg(st, "bs");
	info64_fill(st, &config.info);
	memset(config.__reserved, 0x77, sizeof(config.__reserved));
	result(s, ioctl(handle(s, st), LOOP_CONFIGURE,
			mem_place(arg(st, "mem"), &config, sizeof(config))));
	fd_drop(spec, fd);
}

/*
 * The C driver writes back and drops the device's page cache before it refuses
 * new settings; rust_loop refuses them at once. Do it there as well, or what is
 * seen later of dirty and of stale pages differs.
 */
static void settings_refused(struct side *s, const struct step *st, long ret)
{
	int dev = handle_device(s, st), err = errno, fd;
	char path[64];

	if (ret < 0 && (err == EINVAL || err == EOVERFLOW) && dev >= 0) {
		fd = open(device_path(s, dev, 0, path), O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			capability(true);
			fsync(fd);
			ioctl(fd, BLKFLSBUF, 0);
			close(fd);
		}
	}
}

static void do_set_status64(struct side *s, const struct step *st)
{
	struct loop_info64 info;
	long ret;

	info64_fill(st, &info);
	ret = ioctl(handle(s, st), LOOP_SET_STATUS64,
		    mem_place(arg(st, "mem"), &info, sizeof(info)));
	result(s, ret);
	settings_refused(s, st, ret);
}

static void do_set_status(struct side *s, const struct step *st)
{
	struct loop_info info;
	long ret;

	memset(&info, 0x11, sizeof(info));
	info.lo_offset = (int)arg(st, "offset");
	info.lo_encrypt_type = (int)arg(st, "type");
	info.lo_encrypt_key_size = (int)arg(st, "keysize");
	info.lo_flags = (int)arg(st, "flags");
	name_fill((unsigned char *)info.lo_name, arg(st, "name"));
	ret = ioctl(handle(s, st), LOOP_SET_STATUS,
		    mem_place(arg(st, "mem"), &info, sizeof(info)));
	result(s, ret);
	settings_refused(s, st, ret);
}

static void do_get_status(struct side *s, const struct step *st, bool old)
{
	size_t size = old ? sizeof(struct loop_info) : sizeof(struct loop_info64);
	union {
		struct loop_info64 info64;
		struct loop_info info;
	} u;
	void *place;
	long ret;

	memset(&u, 0xa5, sizeof(u));
	place = mem_place(arg(st, "mem"), &u, size);
	ret = ioctl(handle(s, st), old ? LOOP_GET_STATUS : LOOP_GET_STATUS64, place);
	result(s, ret);
	if (arg(st, "mem") != MEM_GOOD)
		return;
	memcpy(&u, place, size);
	if (ret)
		put(&s->out, "status=%s\n", all_bytes(&u, 0xa5, size) ? "untouched" : "touched");
	else if (old)
		status_old_lines(s, &u.info);
	else
		status64_lines(s, &u.info64);
}

static void do_blkpg(struct side *s, const struct step *st, int op)
{
	struct blkpg_partition part = {
		.start = (long long)arg(st, "start") * 512,
		.length = (long long)arg(st, "len") * 512,
		.pno = (int)arg(st, "pno"),
	};
	struct blkpg_ioctl_arg a = { .op = op, .datalen = sizeof(part), .data = &part };

	result(s, ioctl(handle(s, st), BLKPG, &a));
}

static void do_geometry(struct side *s, int fd)
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

static void do_range(struct side *s, const struct step *st, unsigned long cmd)
{
	uint64_t range[2] = { arg(st, "off"), arg(st, "len") };

	result(s, ioctl(handle(s, st), cmd, range));
}

static void do_io(struct side *s, const struct step *st)
{
	size_t len = arg(st, "len") % (IO_MAX + 1);
	off_t off = arg(st, "off") & INT64_MAX;
	ssize_t n;

	if (st->op == OP_read) {
		memset(io_buffer, 0xa5, len);
		n = pread(handle(s, st), io_buffer, len, off);
		result(s, n);
		if (n > 0)
			put(&s->out, "data=%016" PRIx64 "\n", hash(io_buffer, n));
		return;
	}
	fill(io_buffer, len, arg(st, "pat"));
	n = pwrite(handle(s, st), io_buffer, len, off);
	result(s, n);
}

static void do_image(struct side *s, const struct step *st)
{
	int img = arg(st, "img") % IMAGES, fd;
	char path[256], sector[512];
	struct stat stat;
	size_t len;

	touched_images |= 1u << img;
	fd = open(image_path(s, img, path), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	switch (st->op) {
	case OP_trunc:
		result(s, ftruncate(fd, arg(st, "size") % (64 << 20)));
		break;
	case OP_ptable:
		partition_table(sector, arg(st, "kind"));
		result(s, pwrite(fd, sector, sizeof(sector), 0));
		/* A file that had nothing has a whole block, see "whole". */
		if (!fstat(fd, &stat) && stat.st_size == sizeof(sector) && ftruncate(fd, 4096))
			die("ftruncate: %m");
		break;
	default:
		len = arg(st, "len") % IO_MAX;
		fill(io_buffer, len, arg(st, "pat"));
		result(s, pwrite(fd, io_buffer, len, arg(st, "off") % (64 << 20)));
	}
	close(fd);
}

/* The node of a device that may have gone makes a new one of it. */
static void do_opendead(struct side *s, const struct step *st)
{
	unsigned int dev = arg(st, "dev") % MAX_DEVICES;
	char path[256];
	int fd;

	touched_devices |= 1u << dev;
	snprintf(path, sizeof(path), "%s/node%u", s->dir, dev);
	if (mknod(path, S_IFBLK | 0600, makedev(s->major, dev)) && errno != EEXIST)
		die("%s: %m", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	put(&s->out, "ret=%s\n", fd < 0 ? strerrorname_np(errno) : "open");
	if (fd >= 0)
		close(fd);
	unlink(path);
}

static void do_poke(struct side *s, const struct step *st)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s%u/uevent", s->prefix,
		 (unsigned int)(arg(st, "dev") % MAX_DEVICES));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	result(s, fd < 0 ? -1 : write(fd, "change", 6));
	if (fd >= 0)
		close(fd);
}

/* ---- the whole picture ----------------------------------------------------- */

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

static void snap_attrs_of(const struct side *s, const char *directory)
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
		snprintf(aspect, sizeof(aspect), "%d/%s", dev, snap_attr[i].name);
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

	/* See do_open(). */
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
	do_geometry(s, fd);
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

static void do_snap(struct side *s)
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

/* ---- one step -------------------------------------------------------------- */

/*
 * I/O to a device that is run down fails in the C driver and works in
 * rust_loop; after it the two cannot be compared any more.
 */
static bool avoided(const struct side *s, const struct step *st)
{
	int dev;

	if (arg_index(st->op, "force") < 0 || arg(st, "force"))
		return false;
	dev = handle_device(s, st);
	return dev >= 0 && rundown[dev];
}

static void step_do(struct side *s, const struct step *st)
{
	int fd = handle(s, st);

	if (avoided(s, st)) {
		put(&s->out, "ret=avoided\n");
		return;
	}
	switch (st->op) {
	case OP_open:
		do_open(s, st);
		break;
	case OP_close:
		do_close(s, arg(st, "h") % HANDLES);
		break;
	case OP_fork:
		do_fork(s, st);
		break;
	case OP_reap:
		do_reap(s, arg(st, "k") % CHILDREN);
		break;
	case OP_set_fd:
		do_with_fd(s, st, LOOP_SET_FD);
		break;
	case OP_change_fd:
		do_with_fd(s, st, LOOP_CHANGE_FD);
		break;
	case OP_clr_fd:
		/* What is not written before is lost in the C driver. */
		if (!arg(st, "nosync"))
			fsync(fd);
		result(s, ioctl(fd, LOOP_CLR_FD, 0));
		break;
	case OP_set_status:
		do_set_status(s, st);
		break;
	case OP_get_status:
		do_get_status(s, st, true);
		break;
	case OP_set_status64:
		do_set_status64(s, st);
		break;
	case OP_get_status64:
		do_get_status(s, st, false);
		break;
	case OP_set_capacity:
		result(s, ioctl(fd, LOOP_SET_CAPACITY, (unsigned long)arg(st, "arg")));
		break;
	case OP_set_dio:
		result(s, ioctl(fd, LOOP_SET_DIRECT_IO, (unsigned long)arg(st, "arg")));
		break;
	case OP_set_bs:
		result(s, ioctl(fd, LOOP_SET_BLOCK_SIZE, (unsigned long)arg(st, "arg")));
		break;
	case OP_configure:
		do_configure(s, st);
		break;
	case OP_raw:
		result(s, ioctl(fd, (unsigned long)arg(st, "cmd"), (unsigned long)arg(st, "arg")));
		break;
	case OP_ctl_add:
		result(s, ioctl(s->ctl, LOOP_CTL_ADD, (unsigned long)arg(st, "arg")));
		break;
	case OP_ctl_remove:
		result(s, ioctl(s->ctl, LOOP_CTL_REMOVE, (unsigned long)arg(st, "arg")));
		break;
	case OP_ctl_free:
		result(s, ioctl(s->ctl, LOOP_CTL_GET_FREE, (unsigned long)arg(st, "arg")));
		break;
	case OP_ctl_raw:
		result(s, ioctl(s->ctl, (unsigned long)arg(st, "cmd"),
				(unsigned long)arg(st, "arg")));
		break;
	case OP_read:
	case OP_write:
		do_io(s, st);
		break;
	case OP_fsync:
		result(s, fsync(fd));
		break;
	case OP_discard:
		do_range(s, st, BLKDISCARD);
		break;
	case OP_zeroout:
		do_range(s, st, BLKZEROOUT);
		break;
	case OP_flsbuf:
		result(s, ioctl(fd, BLKFLSBUF, 0));
		break;
	case OP_rrpart:
		result(s, ioctl(fd, BLKRRPART, 0));
		break;
	case OP_pg_add:
		do_blkpg(s, st, BLKPG_ADD_PARTITION);
		break;
	case OP_pg_del:
		do_blkpg(s, st, BLKPG_DEL_PARTITION);
		break;
	case OP_roset: {
		int value = (int)arg(st, "arg");

		result(s, ioctl(fd, BLKROSET, &value));
		break;
	}
	case OP_geometry:
		do_geometry(s, fd);
		break;
	case OP_look:
		do_get_status(s, st, false);
		do_geometry(s, fd);
		break;
	case OP_trunc:
	case OP_fwrite:
	case OP_ptable:
		do_image(s, st);
		break;
	case OP_poke:
		do_poke(s, st);
		break;
	case OP_opendead:
		do_opendead(s, st);
		break;
	case OP_snap:
		do_snap(s);
		break;
	case OP_COUNT:
		break;
	}
}

static void diskseq_lines(struct side *s)
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

/* What can be seen after a step. */
static void look(struct side *s, unsigned int devices)
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

static void step_run(const struct step *st)
{
	bool unprivileged = arg(st, "u");
	unsigned int devices = 0;
	int i, dev;

	progress->count++;
	step_text(st, progress->step, sizeof(progress->step));
	sides[0].events.len = sides[1].events.len = 0;
	for (i = 0; i < 2; i++) {
		struct side *s = &sides[i];

		strcpy(progress->side, s->prefix);
		s->out.len = 0;
		dev = handle_device(s, st);
		if (unprivileged)
			capability(false);
		step_do(s, st);
		if (unprivileged)
			capability(true);
		if (dev < 0)
			dev = handle_device(s, st);
		if (dev >= 0) {
			devices |= 1u << dev;
			touched_devices |= 1u << dev;
		}
		devices |= uevents_drain();
		/* Counted before the other driver counts on. */
		diskseq_lines(s);
	}
	if (st->op >= OP_ctl_add && st->op <= OP_ctl_raw)
		touched_devices |= (1u << MAX_DEVICES) - 1;
	for (i = 0; i < 2; i++) {
		struct side *s = &sides[i];

		look(s, devices);
		put(&s->out, "uevents=%.*s\n", (int)s->events.len, s->events.s);
		s->out.s[s->out.len] = 0;
	}

	/* The C driver decides what state the two are in. */
	dev = handle_device(&sides[0], st);
	if (st->op == OP_clr_fd && dev >= 0) {
		struct loop_info64 info;

		rundown[dev] = ioctl(handle(&sides[0], st), LOOP_GET_STATUS64, &info) &&
			errno == ENXIO && looks_bound(&sides[0], dev);
	}
	if (st->op == OP_close || st->op == OP_reap || st->op == OP_open)
		for (i = 0; i < MAX_DEVICES; i++)
			if (rundown[i] && !looks_bound(&sides[0], i))
				rundown[i] = false;
}

/* ---- differences ----------------------------------------------------------- */

struct known {
	char *op, *aspect, *value[2], *reason;
	unsigned int count;
};

static struct known known[64];
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

static void table_read(const char *path)
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

struct difference {
	bool any;
	enum op op;
	char aspect[128];
	char value[2][4096];
};

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

/* The state that the systematic mode is in, for the table. */
static char context[64];

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
static bool differ(const struct step *st, struct difference *d)
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

/* ---- the beginning of a sequence ------------------------------------------- */

static void side_detach(struct side *s)
{
	char path[64];
	int i, fd, round, left;

	for (i = 0; i < CHILDREN; i++)
		do_reap(s, i);
	for (i = 0; i < HANDLES; i++)
		do_close(s, i);
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

static void reset(void)
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

static void side_init(struct side *s, const char *work)
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

/* Says which step does not end; the kernel log says why. */
static void watch(void)
{
	unsigned long last = 0, same = 0;
	pid_t tester = getpid();
	pid_t watcher = fork();

	if (watcher)
		return;
	while (!kill(tester, 0) && getppid() == tester) {
		/* The debug kernel has no other call that sleeps for 32-bit programs. */
		poll(NULL, 0, 1000);
		same = progress->count == last ? same + 1 : 0;
		last = progress->count;
		if (same < 40)
			continue;
		printf("# does not end: %s on %s\n", progress->step, progress->side);
		fflush(stdout);
		kill(tester, SIGKILL);
		break;
	}
	_exit(0);
}

static void init(void)
{
	static const struct sched_param no_priority;
	struct rlimit files = { 4096, 4096 };
	const char *work = getenv("WORKDIR") ?: "/tmp/loopdiff";
	const char *table = getenv("TABLE") ?: "loopdiff.table";
	int i;

	ops_init();
	page = sysconf(_SC_PAGESIZE);
	setrlimit(RLIMIT_NOFILE, &files);
	/*
	 * Who waits for a page to be written may preempt the one who has written it
	 * before that one has given up the page, and then LOOP_SET_STATUS64 of the C
	 * driver cannot drop it from the page cache: what is read next is old. Now
	 * nobody is preempted by us.
	 */
	if (sched_setscheduler(0, SCHED_IDLE, &no_priority))
		die("SCHED_IDLE: %m");
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	io_buffer = mmap(NULL, IO_MAX + page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bounds = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED || io_buffer == MAP_FAILED || bounds == MAP_FAILED ||
	    mprotect(bounds + page, page, PROT_NONE))
		die("memory: %m");
	/* A program that reads all of it would find what another has left. */
	memset(io_buffer, 0, IO_MAX);
	watch();
	table_read(table);
	if (mkdir(work, 0700) && errno != EEXIST)
		die("%s: %m", work);
	if (stat("/dev", &dev_fs))
		die("/dev: %m");
	side_init(&sides[0], work);
	side_init(&sides[1], work);
	for (i = 0; i < 2; i++) {
		snap_attrs_of(&sides[i], "");
		snap_attrs_of(&sides[i], "queue/");
	}
	uevents_open();
	touched_devices = (1u << MAX_DEVICES) - 1;
	reset();
}

/* ---- sequences ------------------------------------------------------------- */

struct sequence {
	struct step *step;
	unsigned int count, room;
};

static struct step *add(struct sequence *q)
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

static bool verbose;

static void show(const struct step *st)
{
	char text[512];

	printf("#   %s\n", step_text(st, text, sizeof(text)));
	if (verbose)
		printf("# C:\n%s\n# Rust:\n%s\n", sides[0].out.s, sides[1].out.s);
}

/* Returns the number of steps up to the first difference, or 0. */
static unsigned int sequence_run(const struct sequence *q, struct difference *d)
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

static bool same_kind(const struct difference *a, const struct difference *b)
{
	if (a->op != b->op || strcmp(a->aspect, b->aspect))
		return false;
	/* Sizes and sums change as steps are left out; errors should not. */
	return strcmp(a->aspect, "ret") || (!strcmp(a->value[0], b->value[0]) &&
					    !strcmp(a->value[1], b->value[1]));
}

static double seconds(void)
{
	struct timespec now = { 0, 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/*
 * Leaves out what is not needed for the difference, in halves, quarters and so
 * on, down to single steps.
 */
static bool shrink(struct sequence *q, const struct difference *want)
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

static void difference_print(const struct difference *d)
{
	printf("#   %s\n#     C:    %s\n#     Rust: %s\n", d->aspect, d->value[0], d->value[1]);
}

static void reproducer_print(const struct sequence *q)
{
	char text[512];
	unsigned int i;

	printf("# reproducer, for loopdiff replay:\n");
	for (i = 0; i < q->count; i++)
		printf("%s\n", step_text(&q->step[i], text, sizeof(text)));
	printf("# end of the reproducer\n");
}

/* ---- differences that have been seen --------------------------------------- */

static struct found {
	struct difference d;
	unsigned int count;
} *found;
static unsigned int found_count;

/*
 * Where the contents of a device differ, and what its file has there. What is
 * read is in the page cache, from when the difference was found.
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

/* Whether there was none like it. */
static bool is_new(const struct difference *d)
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

static void report(struct sequence *q, struct difference *d)
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

static int summary(unsigned int steps, double begin)
{
	unsigned int i;

	for (i = 0; i < known_count; i++)
		if (known[i].count)
			printf("# known, %u times: %s\n", known[i].count, known[i].reason);
	for (i = 0; i < found_count; i++)
		if (found[i].count > 1)
			printf("# difference %u: %u times\n", i + 1, found[i].count);
	printf("# %u steps, %u differences, %.1f s\n", steps, found_count, seconds() - begin);
	return found_count != 0;
}

/* ---- systematic mode ------------------------------------------------------- */

/*
 * How a state is made. '@' opens the handle that the ioctls are done on, in the
 * mode that is under test; '@1' does that to device 1, '@p1' to a partition of
 * device 0, '@x' exclusively. Device 2 is bound in all of them, device 3 is not.
 */
static const char setup_all[] = "open h=11 dev=2 flags=2\nset_fd h=11 fd=img-rw:1\nclose h=11\n";

static const struct state {
	const char *name, *steps;
	bool all;	/* all arguments and modes, not only some of each kind */
} states[] = {
	{ "unbound", "@\n", true },
	{ "bound", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\nclose h=1\n@\n", true },
	{ "bound-ro", "open h=1 flags=2\nset_fd h=1 fd=img-ro:0\nclose h=1\n@\n", true },
	{ "bound-shared", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\n@\n", false },
	{ "autoclear", "open h=1 flags=2\n@\nconfigure h=1 fd=img-rw:0 flags=4\nclose h=1\n", false },
	{ "rundown", "@\nset_fd h=0 fd=img-rw:0\nclr_fd h=0\n", false },
	{ "stack-below", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\nopen h=2 dev=1 flags=2\n"
	  "set_fd h=2 fd=dev-rw:0\nclose h=2\nclose h=1\n@\n", false },
	{ "stack-above", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\nopen h=2 dev=1 flags=2\n"
	  "set_fd h=2 fd=dev-rw:0\nclose h=2\nclose h=1\n@1\n", false },
	{ "exclusive-other", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\nclose h=1\n@\n"
	  "open h=2 flags=0x82\n", false },
	{ "exclusive-unbound", "@\nopen h=2 flags=0x82\n", false },
	{ "exclusive-own", "open h=1 flags=2\nset_fd h=1 fd=img-rw:0\nclose h=1\n@x\n", false },
	{ "partitions", "open h=1 flags=2\nconfigure h=1 fd=img-rw:3 flags=8\nclose h=1\n@\n"
	  "open h=2 p=1 flags=2\n", false },
	{ "through-partition", "open h=1 flags=2\nconfigure h=1 fd=img-rw:3 flags=8\n"
	  "close h=1\n@p1\n", false },
	{ "offset", "open h=1 flags=2\nconfigure h=1 fd=img-rw:2 offset=512 sizelimit=65536\n"
	  "close h=1\n@\n", false },
	{ "direct", "open h=1 flags=2\nconfigure h=1 fd=img-rw:0 flags=0x10\nclose h=1\n@\n",
	  false },
	{ "large-blocks", "open h=1 flags=2\nconfigure h=1 fd=img-rw:0 bs=4096\nclose h=1\n@\n",
	  false },
	{ "read-only-partscan", "open h=1 flags=2\nconfigure h=1 fd=img-rw:3 flags=9\nclose h=1\n@\n",
	  false },
};

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

static const uint64_t offsets[] = {
	0, 1, 511, 512, 4096, 65536, 262143, 262144, 262656, 1ull << 31, 1ull << 32, INT64_MAX - 511,
	INT64_MAX, 1ull << 63, UINT64_MAX - 511, UINT64_MAX,
};
static const uint64_t block_sizes[] = {
	0, 1, 511, 512, 513, 1024, 1234, 2048, 4096, 8192, 65536, 131072, 1ull << 31,
	1ull << 32, (1ull << 32) + 512, (1ull << 32) + 4096, UINT32_MAX, UINT64_MAX,
};
static const uint64_t crypts[] = {
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

static void set(struct step *s, const char *name, uint64_t value)
{
	s->a[arg_index(s->op, name)] = value;
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

static void setup_steps(struct sequence *q, const char *text, unsigned int flags)
{
	char line[256];
	struct step *s;
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		if (!n)
			continue;
		snprintf(line, sizeof(line), "%.*s", (int)n, text);
		s = add(q);
		if (line[0] != '@') {
			step_parse(line, s);
			continue;
		}
		s->op = OP_open;
		set(s, "flags", flags | (line[1] == 'x' ? O_EXCL : 0));
		set(s, "dev", line[1] == '1');
		set(s, "p", line[1] == 'p');
	}
}

static unsigned int steps_done;

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

	setup_steps(&setup, setup_all, 0);
	setup_steps(&setup, state->steps, mode->flags);
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

	snprintf(context, sizeof(context), "%s %s", state->name, mode->name);
	variants_make(&cases, state, mode);
	for (i = 0; i < cases.count; i++) {
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
	printf("# %s: %u cases, %u steps, %.1f s\n", context, cases.count, steps_done - begun,
	       seconds() - begin);
	context[0] = 0;
	free(cases.step);
	free(q.step);
}

static int systematic(const char *pattern)
{
	double begin = seconds();
	unsigned int i, m;

	for (i = 0; i < ARRAY_SIZE(states); i++)
		for (m = 0; m < ARRAY_SIZE(modes); m++)
			if ((!pattern || !fnmatch(pattern, states[i].name, FNM_EXTMATCH)) &&
			    (states[i].all || modes[m].all_states))
				state_test(&states[i], &modes[m]);
	return summary(steps_done, begin);
}

/* ---- random mode ----------------------------------------------------------- */

static uint64_t seed;

static uint64_t rnd64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned int rnd(unsigned int n)
{
	return rnd64() % n;
}

static bool chance(unsigned int percent)
{
	return rnd(100) < percent;
}

#define PICK(array) ((array)[rnd(ARRAY_SIZE(array))])

/* How often each operation is done. */
static const struct {
	enum op op;
	unsigned int weight;
} weights[] = {
	{ OP_open, 110 }, { OP_close, 50 }, { OP_fork, 10 }, { OP_reap, 14 }, { OP_set_fd, 25 },
	{ OP_clr_fd, 35 }, { OP_set_status, 15 }, { OP_get_status, 10 }, { OP_set_status64, 50 },
	{ OP_get_status64, 20 }, { OP_change_fd, 25 }, { OP_set_capacity, 20 }, { OP_set_dio, 20 },
	{ OP_set_bs, 20 }, { OP_configure, 70 }, { OP_raw, 4 }, { OP_ctl_add, 5 },
	{ OP_ctl_remove, 8 }, { OP_ctl_free, 5 }, { OP_ctl_raw, 2 }, { OP_read, 60 },
	{ OP_write, 70 }, { OP_fsync, 20 }, { OP_discard, 15 }, { OP_zeroout, 15 },
	{ OP_flsbuf, 15 }, { OP_rrpart, 15 }, { OP_pg_add, 15 }, { OP_pg_del, 10 },
	{ OP_roset, 8 }, { OP_geometry, 15 }, { OP_trunc, 15 }, { OP_fwrite, 15 },
	{ OP_ptable, 10 }, { OP_poke, 4 }, { OP_opendead, 3 },
};

static bool named(const char *list, const char *name)
{
	char copy[512], *word, *save;

	snprintf(copy, sizeof(copy), "%s", list);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (!fnmatch(word, name, 0))
			return true;
	return false;
}

static enum op random_op(void)
{
	static unsigned int sum[ARRAY_SIZE(weights)], total;
	const char *only = getenv("ONLY"), *without = getenv("WITHOUT");
	unsigned int i, n;

	for (i = 0; !sum[ARRAY_SIZE(weights) - 1] && i < ARRAY_SIZE(weights); i++) {
		const char *name = ops[weights[i].op].name;

		if ((!only || named(only, name)) && (!without || !named(without, name)))
			total += weights[i].weight;
		sum[i] = total;
	}
	n = rnd(total);
	for (i = 0; n >= sum[i]; i++)
		;
	return weights[i].op;
}

/*
 * Where what can be read of a file ends within a sector of a device, the C driver
 * reads that sector again and again and takes the pieces for what follows. At
 * first no device has such a sector; but a file may be truncated, and a device
 * may not give its last block. So a sequence has either any offsets, or files
 * that shrink and devices on devices.
 */
static bool aligned;
/*
 * Whether files, windows and partitions are whole blocks, and blocks are large. Of others the
 * C driver shows the last block in part (see the table), so with them blocks are sectors.
 */
static bool whole;

static unsigned int random_image(void)
{
	static const unsigned char whole_ones[] = { 0, 1, 3 };

	return whole ? PICK(whole_ones) : rnd(IMAGES);
}

static uint64_t random_file(void)
{
	/* No partitions: the C driver lets a device be made of its own, and hangs. */
	static const uint64_t odd[] = {
		FD(IMG_WO, 0), FD(IMG_APPEND, 1), FD(IMG_PATH, 0), FD(NUMBER, 0), FD(NEGATIVE, 0),
		FD(DIR, 0), FD(PIPE_R, 0), FD(SOCKET, 0), FD(NULL, 0), FD(ZERO, 0), FD(PROC, 0),
		FD(CTL, 0), FD(HIGH_BITS, 0),
	};

	switch (rnd(20)) {
	case 0:
		return PICK(odd);
	case 1:
		return aligned ? FD(DEV_RW, rnd(DEVICES)) : FD(IMG_RW, random_image());
	case 2:
		return aligned ? FD(DEV_RO, rnd(DEVICES)) : FD(IMG_RO, random_image());
	case 3:
		return FD(IMG_DIRECT, random_image());
	case 4:
		return FD(IMG_DIRECT_RO, random_image());
	case 5 ... 8:
		return FD(IMG_RO, random_image());
	}
	return FD(IMG_RW, random_image());
}

static uint64_t random_offset(void)
{
	static const uint64_t usual[] = { 0, 0, 0, 512, 1024, 4096, 8192, 32768, 65536 };
	uint64_t offset;

	offset = chance(80) ? PICK(usual) : chance(60) ? PICK(offsets) : rnd(300000);
	if (whole)
		return offset & ~4095ull;
	return aligned ? offset & ~511ull : offset;
}

static uint64_t random_size(void)
{
	static const uint64_t sizes[] = {
		0, 512, 4096, 65536, 131072, 199680, 262144, 262144, 262144, 299520, 1048576,
	};

	if (whole)
		return PICK(sizes) & ~4095ull;
	return aligned ? PICK(sizes) : 1100001;
}

static uint64_t random_block_size(bool valid)
{
	static const uint64_t good[] = { 0, 0, 0, 512, 512, 1024, 2048, 4096, 4096 };

	uint64_t size = valid || chance(80) ? PICK(good) : PICK(block_sizes);
	/* As a driver sees it. */
	uint32_t low = size;

	if (low >= 1024 && low <= 65536 && !(low & (low - 1)) && (!whole || low > 4096))
		return whole ? 4096 : 512;
	return size;
}

static uint64_t random_flags(void)
{
	static const uint64_t good[] = { 0, 0, 0, 1, 4, 4, 8, 8, 8, 12, 0x10, 0x18 };

	return chance(85) ? PICK(good) : chance(50) ? rnd(32) : 1u << rnd(32);
}

/* On which device each handle may be, for sequences that do something. */
static int probable[HANDLES];

static unsigned int random_handle(void)
{
	unsigned int h = rnd(HANDLES), tries;

	for (tries = 0; tries < 6 && probable[h] < 0; tries++)
		h = rnd(HANDLES);
	return h;
}

static uint64_t random_length(void)
{
	static const uint64_t lengths[] = { 512, 512, 1024, 4096, 4096, 8192, 16384, 65536 };

	return chance(90) ? PICK(lengths) : rnd(20000);
}

static uint64_t random_argument(enum op op, const char *name)
{
	static const uint64_t small[] = { 0, 1, 1, 1, 2, UINT64_MAX };
	static const uint64_t unknown[] = { 0x4cff, 0x4c0b, 0x4c80, 0x4c81, 0x4c82, 0x1234 };

	if (!strcmp(name, "fd"))
		return random_file();
	if (!strcmp(name, "mem"))
		return chance(3) ? rnd(MEM_KINDS) : 0;
	if (!strcmp(name, "offset"))
		return random_offset();
	if (!strcmp(name, "sizelimit"))
		return chance(60) ? 0 : random_offset();
	if (!strcmp(name, "bs"))
		/* An invalid one has a lasting effect in the C driver. */
		return random_block_size(true);
	if (!strcmp(name, "crypt"))
		return chance(3) ? PICK(crypts) : 0;
	if (!strcmp(name, "name"))
		return chance(30) ? rnd(4) : 0;
	if (!strcmp(name, "u"))
		return chance(5);
	if (!strcmp(name, "k"))
		return rnd(CHILDREN);
	if (!strcmp(name, "img"))
		return random_image();
	if (!strcmp(name, "kind"))
		return rnd(5);
	/* What is written at the end of a file makes it longer. */
	if (whole && (op == OP_fwrite || op == OP_write) && !strcmp(name, "off"))
		return rnd(64) * 4096ull;
	if (whole && (op == OP_fwrite || op == OP_write) && !strcmp(name, "len"))
		return (random_length() + 4095) & ~4095ull;
	if (!strcmp(name, "off"))
		return chance(80) ? rnd(64) * 4096ull : chance(80) ? rnd(520) * 512ull : rnd(300000);
	if (!strcmp(name, "pno"))
		return 1 + rnd(4);
	if (!strcmp(name, "start"))
		return rnd(20) * 8;
	if (!strcmp(name, "len"))
		return op == OP_pg_add ? 8 + rnd(20) * 8 : random_length();
	if (!strcmp(name, "pat"))
		return 1 + rnd(200);
	if (!strcmp(name, "size"))
		return random_size();
	if (!strcmp(name, "cmd"))
		return PICK(unknown);
	if (!strcmp(name, "dev"))
		return rnd(DEVICES);
	if (!strcmp(name, "flags"))
		return random_flags();
	if (!strcmp(name, "arg"))
		switch (op) {
		case OP_set_bs:
			return random_block_size(false);
		case OP_ctl_add:
		case OP_ctl_remove:
			return chance(90) ? rnd(DEVICES + 2) : UINT64_MAX;
		default:
			return PICK(small);
		}
	return 0;
}

static void random_open(struct step *s)
{
	static const uint64_t accesses[] = { O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY };
	uint64_t flags = PICK(accesses);
	unsigned int h = rnd(HANDLES), dev = rnd(10) < 4 ? 0 : rnd(DEVICES);

	if (chance(12))
		flags |= O_EXCL;
	if (chance(10))
		flags |= O_NONBLOCK;
	if (chance(15))
		flags |= O_DIRECT;
	if (chance(3))
		flags |= O_SYNC;
	if (chance(2))
		flags |= O_TRUNC | O_APPEND;
	set(s, "h", h);
	set(s, "dev", dev);
	set(s, "p", chance(12) ? 1 + rnd(3) : 0);
	set(s, "flags", flags);
	probable[h] = dev;
}

static void random_step(struct step *s)
{
	int i;

	s->op = random_op();
	if (s->op == OP_open) {
		random_open(s);
		return;
	}
	for (i = 0; i < ops[s->op].nargs; i++) {
		const char *name = ops[s->op].arg[i];

		if (!strcmp(name, "h"))
			s->a[i] = random_handle();
		else if (strcmp(name, "force") && strcmp(name, "nosync"))
			s->a[i] = random_argument(s->op, name);
	}
	/* The C driver lets any 32-bit program do it (see the table). */
	if (s->op == OP_set_status)
		set(s, "u", 0);
	if (s->op == OP_close)
		probable[arg(s, "h")] = -1;
}

static int random_mode(void)
{
	unsigned long steps = strtoul(getenv("STEPS") ?: "20000", NULL, 0);
	unsigned long length = strtoul(getenv("LENGTH") ?: "500", NULL, 0);
	unsigned long most = strtoul(getenv("DIFFERENCES") ?: "3", NULL, 0), i, done = 0;
	uint64_t first = strtoull(getenv("SEED") ?: "1", NULL, 0);
	struct sequence q = { NULL, 0, 0 };
	double begin = seconds(), last = begin;
	static const struct step snap = { .op = OP_snap };
	struct difference d;

	for (i = 0; done < steps && found_count < most; i++) {
		unsigned long n;

		/* Each sequence can be had alone: SEED=<its own> STEPS=1. */
		seed = first + i;
		aligned = seed & 1;
		whole = seed & 2;
		memset(probable, 0xff, sizeof(probable));
		q.count = 0;
		for (n = 0; n < length; n++) {
			struct step *s = add(&q);

			if (n % 50 == 49 || n + 1 == length)
				*s = snap;
			else
				random_step(s);
		}
		n = sequence_run(&q, &d);
		if (n) {
			q.count = n;
			printf("# SEED=%" PRIu64 ", step %lu\n", first + i, n);
			report(&q, &d);
		}
		done += n ?: length;
		if (seconds() - last > 20) {
			last = seconds();
			printf("# %lu steps, %.0f s\n", done, last - begin);
		}
	}
	return summary(done, begin);
}

/* ---- replay ---------------------------------------------------------------- */

static int replay(const char *path)
{
	struct sequence q = { NULL, 0, 0 };
	double begin = seconds();
	struct difference d;
	char line[1024];
	struct step s;
	unsigned int n;
	FILE *f = fopen(path, "re");

	if (!f)
		die("%s: %m", path);
	while (fgets(line, sizeof(line), f))
		if (step_parse(line, &s))
			*add(&q) = s;
	fclose(f);
	n = sequence_run(&q, &d);
	if (n) {
		char text[512];

		printf("# difference at step %u: %s\n", n,
		       step_text(&q.step[n - 1], text, sizeof(text)));
		difference_print(&d);
		is_new(&d);
		if (getenv("SHRINK") && shrink(&q, &d))
			reproducer_print(&q);
	}
	return summary(n ?: q.count, begin);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int ret;

	verbose = getenv("VERBOSE");
	if (!strcmp(mode, "systematic")) {
		init();
		ret = systematic(argc > 2 ? argv[2] : NULL);
	} else if (!strcmp(mode, "random")) {
		init();
		ret = random_mode();
	} else if (!strcmp(mode, "replay") && argc == 3) {
		init();
		ret = replay(argv[2]);
	} else {
		fprintf(stderr, "usage: loopdiff systematic [STATE] | random | replay FILE\n");
		return 2;
	}
	/* The devices are left as they were found. */
	touched_devices = (1u << MAX_DEVICES) - 1;
	reset();
	return ret;
}
