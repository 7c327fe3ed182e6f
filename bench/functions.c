// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of the emulator that counts the instructions of a guest with one CPU, by block of
 * code. At the end it writes a line "ADDRESS COUNT" for each block to the file given by its
 * argument, out=FILE.
 *
 * The declarations are those of version 4 of the plugin interface; Debian has no package
 * with the header.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_scoreboard;

typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;

enum { QEMU_PLUGIN_INLINE_ADD_U64 };

extern struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
		void (*callback)(uint64_t id, struct qemu_plugin_tb *tb));
extern void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb,
		int op, qemu_plugin_u64 entry, uint64_t imm);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry);
extern void qemu_plugin_register_atexit_cb(uint64_t id, void (*callback)(uint64_t id, void *data),
		void *data);

/* A block can be translated repeatedly, and with different lengths. */
#define BLOCKS (1u << 19)
#define BUCKETS (4 * BLOCKS)

static struct block {
	uint64_t address;
	uint64_t length;
} *blocks;
static unsigned int block_count;
/* The index of a block plus one; 0 for an empty bucket. */
static uint32_t *buckets;
static struct qemu_plugin_scoreboard *counts;
static const char *out;

int qemu_plugin_version = 4;

static qemu_plugin_u64 count_of(unsigned int block)
{
	return (qemu_plugin_u64){ counts, block * sizeof(uint64_t) };
}

static unsigned int find_block(uint64_t address, uint64_t length)
{
	uint64_t bucket = (address * 31 + length) * 0x9E3779B97F4A7C15ull >> 40;

	for (bucket %= BUCKETS; buckets[bucket]; bucket = (bucket + 1) % BUCKETS) {
		unsigned int block = buckets[bucket] - 1;

		if (blocks[block].address == address && blocks[block].length == length)
			return block;
	}
	if (block_count == BLOCKS) {
		fprintf(stderr, "functions: too many blocks\n");
		exit(1);
	}
	blocks[block_count] = (struct block){ address, length };
	buckets[bucket] = ++block_count;
	return block_count - 1;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	uint64_t length = qemu_plugin_tb_n_insns(tb);
	unsigned int block = find_block(qemu_plugin_tb_vaddr(tb), length);

	(void)id;
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64,
							  count_of(block), length);
}

static void ended(uint64_t id, void *data)
{
	FILE *file = fopen(out, "w");
	unsigned int i;

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (i = 0; i < block_count; i++)
		fprintf(file, "%llx %llu\n", (unsigned long long)blocks[i].address,
			(unsigned long long)qemu_plugin_u64_sum(count_of(i)));
	fclose(file);
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "functions: the argument is out=FILE\n");
		return 1;
	}
	out = strdup(argv[0] + 4);
	blocks = calloc(BLOCKS, sizeof(*blocks));
	buckets = calloc(BUCKETS, sizeof(*buckets));
	counts = qemu_plugin_scoreboard_new(BLOCKS * sizeof(uint64_t));
	if (!out || !blocks || !buckets)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
