// SPDX-License-Identifier: GPL-2.0
/*
 * usage: oldstatus DEVICE FILE
 *
 * Attaches FILE, and prints what LOOP_GET_STATUS and LOOP_GET_STATUS64 return, byte by byte.
 * Two drivers must print the same. Includes no header of a C library: it is built with the
 * kernel's nolibc for each architecture, and for its 32-bit processes.
 */
#include <linux/loop.h>

static void print_bytes(const char *name, const void *bytes, unsigned int len)
{
	const unsigned char *byte = bytes;
	unsigned int i;

	printf("%s ", name);
	for (i = 0; i < len; i++)
		printf("%d ", byte[i]);
	printf("\n");
}

static int old_status(int dev, const struct stat *st)
{
	struct loop_info set, got;
	int ret;

	memset(&set, 0, sizeof(set));
	set.lo_offset = 4096;
	memcpy(set.lo_name, "name of the device", 19);
	ret = ioctl(dev, LOOP_SET_STATUS, &set);
	printf("set-status %d, %d bytes\n", ret, (int)sizeof(set));
	memset(&got, 0xaa, sizeof(got));
	ret = ioctl(dev, LOOP_GET_STATUS, &got);
	printf("get-status %d errno %d device %d inode %d offset %d name %s\n", ret,
	       ret ? errno : 0, got.lo_device == st->st_dev, got.lo_inode == st->st_ino,
	       got.lo_offset == set.lo_offset, got.lo_name);
	print_bytes("info", &got, sizeof(got));
	return ret;
}

int main(int argc, char **argv)
{
	int dev = open(argv[1], O_RDWR), file = open(argv[2], O_RDWR);
	struct loop_info64 info64;
	struct stat st;

	if (argc != 3 || dev < 0 || file < 0 || fstat(file, &st) ||
	    ioctl(dev, LOOP_SET_FD, (void *)(long)file)) {
		printf("errno %d\n", errno);
		return 1;
	}
	old_status(dev, &st);
	memset(&info64, 0xaa, sizeof(info64));
	printf("get-status64 %d\n", (int)ioctl(dev, LOOP_GET_STATUS64, &info64));
	print_bytes("info64", &info64, sizeof(info64));
	printf("clr-fd %d\n", (int)ioctl(dev, LOOP_CLR_FD, 0));
	return 0;
}
