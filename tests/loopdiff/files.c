// SPDX-License-Identifier: GPL-2.0
/*
 * Images, files that are passed to a driver, and arguments in memory.
 */
#include "loopdiff.h"

#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/socket.h>

char *io_buffer;

/* Two pages and one between them that cannot be accessed. */
static char *bounds;
static size_t page;

/*
 * Two of one size, for LOOP_CHANGE_FD; not a whole number of sectors; with
 * partitions; less than a sector; sectors but not pages.
 */
static const unsigned int image_size[IMAGES] = { 262144, 262144, 200000, 1048576, 300, 100352 };

void fill(char *p, size_t len, uint64_t seed)
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

void partition_table(char *sector, int kind)
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

void image_reset(struct side *s, int img)
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

int fd_make(struct side *s, uint64_t spec)
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

void fd_drop(uint64_t spec, int fd)
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

/* Returns an address of this kind for an argument of that size. */
void *mem_place(unsigned int kind, const void *data, size_t size)
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

void name_fill(unsigned char *name, unsigned int kind)
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
void info64_fill(const struct step *st, struct loop_info64 *info)
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

void memory_init(void)
{
	page = sysconf(_SC_PAGESIZE);
	io_buffer = mmap(NULL, IO_MAX + page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bounds = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (io_buffer == MAP_FAILED || bounds == MAP_FAILED ||
	    mprotect(bounds + page, page, PROT_NONE))
		die("memory: %m");
	/* A program that reads all of it would find what another has left. */
	memset(io_buffer, 0, IO_MAX);
}
