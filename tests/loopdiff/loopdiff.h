/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Declarations that the files of loopdiff share. main.c describes the program.
 */
#ifndef LOOPDIFF_H
#define LOOPDIFF_H

#define _GNU_SOURCE
/* The same types in 32 bits. Files include this before system headers. */
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define __unused	__attribute__((unused))

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

/* ---- text.c ---------------------------------------------------------------- */

struct text {
	size_t len;
	char s[TEXT];
};

void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
uint64_t hash(const void *data, size_t len);
bool all_bytes(const void *data, unsigned char byte, size_t len);

/* ---- step.c ---------------------------------------------------------------- */

/* Does do_FUNCTION(), with this ioctl. */
#define OPS(X)									\
	/* name		function	ioctl			arguments */	\
	X(open,		open,		0,			"h dev p flags u") \
	X(close,	close,		0,			"h")		\
	X(fork,		fork,		0,			"k")		\
	X(reap,		reap,		0,			"k")		\
	X(set_fd,	with_fd,	LOOP_SET_FD,		"h fd u")	\
	X(clr_fd,	clr_fd,		LOOP_CLR_FD,		"h nosync u")	\
	X(set_status,	set_status,	LOOP_SET_STATUS,			\
	  "h mem offset type keysize flags name u")				\
	X(get_status,	get_status,	LOOP_GET_STATUS,	"h mem u")	\
	X(set_status64,	set_status64,	LOOP_SET_STATUS64,			\
	  "h mem offset sizelimit crypt flags name u")				\
	X(get_status64,	get_status,	LOOP_GET_STATUS64,	"h mem u")	\
	X(change_fd,	with_fd,	LOOP_CHANGE_FD,		"h fd u")	\
	X(set_capacity,	ioctl,		LOOP_SET_CAPACITY,	"h arg u")	\
	X(set_dio,	ioctl,		LOOP_SET_DIRECT_IO,	"h arg u")	\
	X(set_bs,	ioctl,		LOOP_SET_BLOCK_SIZE,	"h arg u")	\
	X(configure,	configure,	LOOP_CONFIGURE,				\
	  "h fd mem bs offset sizelimit flags crypt name u")			\
	X(raw,		raw,		0,			"h cmd arg u")	\
	X(ctl_add,	control,	LOOP_CTL_ADD,		"arg u")	\
	X(ctl_remove,	control,	LOOP_CTL_REMOVE,	"arg u")	\
	X(ctl_free,	control,	LOOP_CTL_GET_FREE,	"arg u")	\
	X(ctl_raw,	control_raw,	0,			"cmd arg u")	\
	X(read,		read,		0,			"h off len force") \
	X(write,	write,		0,			"h off len pat force") \
	X(fsync,	fsync,		0,			"h force")	\
	X(discard,	range,		BLKDISCARD,		"h off len force") \
	X(zeroout,	range,		BLKZEROOUT,		"h off len force") \
	X(flsbuf,	ioctl,		BLKFLSBUF,		"h force u")	\
	X(rrpart,	ioctl,		BLKRRPART,		"h force u")	\
	X(pg_add,	blkpg,		BLKPG_ADD_PARTITION,	"h pno start len u") \
	X(pg_del,	blkpg,		BLKPG_DEL_PARTITION,	"h pno u")	\
	X(roset,	roset,		BLKROSET,		"h arg u")	\
	X(geometry,	geometry,	0,			"h")		\
	X(look,		look,		LOOP_GET_STATUS64,	"h")		\
	X(trunc,	trunc,		0,			"img size")	\
	X(fwrite,	fwrite,		0,			"img off len pat") \
	X(ptable,	ptable,		0,			"img kind")	\
	X(poke,		poke,		0,			"dev")		\
	X(opendead,	opendead,	0,			"dev")		\
	X(snap,		snap,		0,			"")

enum op {
#define X(name, function, command, args) OP_##name,
	OPS(X)
#undef X
	OP_COUNT
};

struct step {
	enum op op;
	uint64_t a[MAX_ARGS];
};

struct side;

struct operation {
	const char *name, *args;
	void (*run)(struct side *s, const struct step *st, unsigned long cmd);
	unsigned long cmd;
	const char *arg[MAX_ARGS];
	int nargs;
};

extern struct operation ops[];

/* Kinds of files that are passed; the low byte of the number says which of a kind. */
enum fd_kind {
	FD_IMG_RW, FD_IMG_RO, FD_IMG_WO, FD_IMG_DIRECT, FD_IMG_DIRECT_RO, FD_IMG_APPEND,
	FD_IMG_PATH, FD_DEV_RW, FD_DEV_RO, FD_DEV_DIRECT, FD_PART, FD_HANDLE, FD_NUMBER,
	FD_NEGATIVE, FD_HIGH_BITS, FD_DIR, FD_PIPE_R, FD_PIPE_W, FD_SOCKET, FD_NULL, FD_ZERO,
	FD_PROC, FD_SYSFS, FD_MEMFD, FD_CTL, FD_KINDS
};

#define FD(kind, index) ((uint64_t)FD_##kind << 8 | (index))

void ops_init(void);
int arg_index(enum op op, const char *name);
uint64_t arg(const struct step *s, const char *name);
void set(struct step *s, const char *name, uint64_t value);
char *step_text(const struct step *s, char *out, size_t size);
bool step_parse(char *line, struct step *s);

/* ---- side.c ---------------------------------------------------------------- */

/* Attributes in sysfs that are looked at in each step: see observe.c. */
enum { WATCHED_ALL = 3, WATCHED_LOOP = 9, WATCHED_COUNT = 22 };

struct side {
	const char *prefix;
	char dir[128];
	int ctl;
	unsigned int major;
	int fd[HANDLES];
	int dev[HANDLES];	/* whose handle it is; -1 if it is not open */
	pid_t child[CHILDREN];
	int leash[CHILDREN];
	int attr[MAX_DEVICES][WATCHED_COUNT];
	uint64_t diskseq[MAX_DEVICES];
	struct stat image[IMAGES];
	struct stat last;	/* the file that was passed last */
	struct text out;
	struct text events;
};

extern struct side sides[2];
extern unsigned int touched_devices, touched_images;
/* LOOP_CLR_FD was done by the only opener, who still has it open. */
extern bool rundown[MAX_DEVICES];
extern uint64_t diskseq_max;

/* Shared with the process that watches for steps that do not end. */
extern struct progress {
	volatile unsigned long count;
	char step[512];
	char side[16];
} *progress;

bool is_rust(const struct side *s);
void normal_text(const struct side *s, const char *in, struct text *t);
void line_text(struct side *s, const char *aspect, const char *value);
char *device_name(const struct side *s, int dev, int part, char *out);
char *device_path(const struct side *s, int dev, int part, char *out);
char *image_path(const struct side *s, int img, char *out);
void side_init(struct side *s, const char *work);
void reset(void);

/* ---- files.c --------------------------------------------------------------- */

enum { MEM_GOOD, MEM_NULL, MEM_BAD, MEM_HALF, MEM_READ_ONLY, MEM_KERNEL, MEM_KINDS };

/* IO_MAX bytes. */
extern char *io_buffer;

void memory_init(void);
void fill(char *p, size_t len, uint64_t seed);
void partition_table(char *sector, int kind);
void image_reset(struct side *s, int img);
int fd_make(struct side *s, uint64_t spec);
void fd_drop(uint64_t spec, int fd);
void *mem_place(unsigned int kind, const void *data, size_t size);
void name_fill(unsigned char *name, unsigned int kind);
void info64_fill(const struct step *st, struct loop_info64 *info);

/* ---- observe.c ------------------------------------------------------------- */

extern const char *const watched[WATCHED_COUNT];

void observe_init(void);
ssize_t attr_read(struct side *s, int dev, unsigned int i, char *out, size_t size);
bool looks_bound(struct side *s, int dev);
void uevents_open(void);
unsigned int uevents_drain(void);
void status64_lines(struct side *s, struct loop_info64 *i);
void status_old_lines(struct side *s, struct loop_info *i);
void geometry_lines(struct side *s, int fd);
void snap_lines(struct side *s);
void diskseq_lines(struct side *s);
void look(struct side *s, unsigned int devices);

/* ---- do.c ------------------------------------------------------------------ */

#define X(name, function, command, args) \
	void do_##function(struct side *s, const struct step *st, unsigned long cmd);
OPS(X)
#undef X

void handle_close(struct side *s, int h);
void child_reap(struct side *s, int k);
void step_run(const struct step *st);

/* ---- compare.c ------------------------------------------------------------- */

struct difference {
	bool any;
	enum op op;
	char aspect[128];
	char value[2][4096];
};

/* The state that the systematic mode is in, for the table. */
extern char context[64];

void table_read(const char *path);
bool differ(const struct step *st, struct difference *d);
bool same_kind(const struct difference *a, const struct difference *b);
void difference_print(const struct difference *d);
void known_print(void);

/* ---- shrink.c -------------------------------------------------------------- */

struct sequence {
	struct step *step;
	unsigned int count, room;
};

extern bool verbose;
extern unsigned int found_count;

struct step *add(struct sequence *q);
void show(const struct step *st);
unsigned int sequence_run(const struct sequence *q, struct difference *d);
double seconds(void);
bool shrink(struct sequence *q, const struct difference *want);
void reproducer_print(const struct sequence *q);
bool is_new(const struct difference *d);
void report(struct sequence *q, struct difference *d);
int summary(unsigned int steps, double begin);

/* ---- systematic.c, random.c ------------------------------------------------ */

enum { OFFSETS = 16, BLOCK_SIZES = 18, CRYPTS = 10 };

extern const uint64_t offsets[OFFSETS], block_sizes[BLOCK_SIZES], crypts[CRYPTS];

int systematic(const char *pattern);
int random_mode(void);

#endif
