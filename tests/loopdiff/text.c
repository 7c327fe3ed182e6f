// SPDX-License-Identifier: GPL-2.0
/*
 * Text that grows, sums of data, and the end of the program.
 */
#include "loopdiff.h"

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! loopdiff: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(2);
}

void put(struct text *t, const char *fmt, ...)
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

uint64_t hash(const void *data, size_t len)
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

bool all_bytes(const void *data, unsigned char byte, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		if (*p++ != byte)
			return false;
	return true;
}
