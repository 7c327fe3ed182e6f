// SPDX-License-Identifier: GPL-2.0
/*
 * Random sequences. The odds are those of sequences in which something happens.
 */
#include "loopdiff.h"

#include <fnmatch.h>

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
	/* A write at the end of a file makes it longer. */
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

int random_mode(void)
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
