// SPDX-License-Identifier: GPL-2.0
/*
 * Does a step to a driver. The table of operations (loopdiff.h) names the function
 * for each, and the ioctl if it is one.
 */
#include "loopdiff.h"

#include <linux/blkpg.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

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

void handle_close(struct side *s, int h)
{
	if (s->fd[h] >= 0)
		close(s->fd[h]);
	s->fd[h] = s->dev[h] = -1;
}

void do_open(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	int h = arg(st, "h") % HANDLES, dev = arg(st, "dev") % MAX_DEVICES;
	uint64_t flags = arg(st, "flags");
	char path[64];

	handle_close(s, h);
	s->fd[h] = open(device_path(s, dev, arg(st, "p") % 16, path), (int)flags | O_CLOEXEC);
	if (s->fd[h] >= 0) {
		s->dev[h] = dev;
		/*
		 * Read-ahead goes on after the step, and may end before or after the
		 * next one.
		 */
		posix_fadvise(s->fd[h], 0, 0, POSIX_FADV_RANDOM);
	}
	put(&s->out, "ret=%s\n", s->fd[h] < 0 ? strerrorname_np(errno) : "open");
}

void do_close(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	handle_close(s, arg(st, "h") % HANDLES);
}

void do_fork(struct side *s, const struct step *st, unsigned long cmd __unused)
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

void child_reap(struct side *s, int k)
{
	if (s->child[k] <= 0)
		return;
	close(s->leash[k]);
	while (waitpid(s->child[k], NULL, 0) < 0 && errno == EINTR)
		;
	s->child[k] = 0;
}

void do_reap(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	child_reap(s, arg(st, "k") % CHILDREN);
}

/* An ioctl of a device whose argument is a number. */
void do_ioctl(struct side *s, const struct step *st, unsigned long cmd)
{
	result(s, ioctl(handle(s, st), cmd, (unsigned long)arg(st, "arg")));
}

/* The same of the control device. */
void do_control(struct side *s, const struct step *st, unsigned long cmd)
{
	result(s, ioctl(s->ctl, cmd, (unsigned long)arg(st, "arg")));
}

/* Any ioctl of a device, and of the control device. */
void do_raw(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	do_ioctl(s, st, (unsigned long)arg(st, "cmd"));
}

void do_control_raw(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	do_control(s, st, (unsigned long)arg(st, "cmd"));
}

void do_with_fd(struct side *s, const struct step *st, unsigned long cmd)
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

/* Dirty pages that are not written before are lost in the C driver. */
void do_clr_fd(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	int fd = handle(s, st);

	if (!arg(st, "nosync"))
		fsync(fd);
	result(s, ioctl(fd, LOOP_CLR_FD, 0));
}

void do_configure(struct side *s, const struct step *st, unsigned long cmd __unused)
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

void do_set_status64(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	struct loop_info64 info;
	long ret;

	info64_fill(st, &info);
	ret = ioctl(handle(s, st), LOOP_SET_STATUS64,
		    mem_place(arg(st, "mem"), &info, sizeof(info)));
	result(s, ret);
	settings_refused(s, st, ret);
}

void do_set_status(struct side *s, const struct step *st, unsigned long cmd __unused)
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

void do_get_status(struct side *s, const struct step *st, unsigned long cmd)
{
	bool old = cmd == LOOP_GET_STATUS;
	size_t size = old ? sizeof(struct loop_info) : sizeof(struct loop_info64);
	union {
		struct loop_info64 info64;
		struct loop_info info;
	} u;
	void *place;
	long ret;

	memset(&u, 0xa5, sizeof(u));
	place = mem_place(arg(st, "mem"), &u, size);
	ret = ioctl(handle(s, st), cmd, place);
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

void do_blkpg(struct side *s, const struct step *st, unsigned long cmd)
{
	struct blkpg_partition part = {
		.start = (long long)arg(st, "start") * 512,
		.length = (long long)arg(st, "len") * 512,
		.pno = (int)arg(st, "pno"),
	};
	struct blkpg_ioctl_arg a = { .op = (int)cmd, .datalen = sizeof(part), .data = &part };

	result(s, ioctl(handle(s, st), BLKPG, &a));
}

void do_roset(struct side *s, const struct step *st, unsigned long cmd)
{
	int value = (int)arg(st, "arg");

	result(s, ioctl(handle(s, st), cmd, &value));
}

void do_geometry(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	geometry_lines(s, handle(s, st));
}

void do_look(struct side *s, const struct step *st, unsigned long cmd)
{
	do_get_status(s, st, cmd);
	geometry_lines(s, handle(s, st));
}

void do_range(struct side *s, const struct step *st, unsigned long cmd)
{
	uint64_t range[2] = { arg(st, "off"), arg(st, "len") };

	result(s, ioctl(handle(s, st), cmd, range));
}

void do_read(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	size_t len = arg(st, "len") % (IO_MAX + 1);
	ssize_t n;

	memset(io_buffer, 0xa5, len);
	n = pread(handle(s, st), io_buffer, len, arg(st, "off") & INT64_MAX);
	result(s, n);
	if (n > 0)
		put(&s->out, "data=%016" PRIx64 "\n", hash(io_buffer, n));
}

void do_write(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	size_t len = arg(st, "len") % (IO_MAX + 1);

	fill(io_buffer, len, arg(st, "pat"));
	result(s, pwrite(handle(s, st), io_buffer, len, arg(st, "off") & INT64_MAX));
}

void do_fsync(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	result(s, fsync(handle(s, st)));
}

static int image_open(struct side *s, const struct step *st)
{
	int img = arg(st, "img") % IMAGES, fd;
	char path[256];

	touched_images |= 1u << img;
	fd = open(image_path(s, img, path), O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die("%s: %m", path);
	return fd;
}

void do_trunc(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	int fd = image_open(s, st);

	result(s, ftruncate(fd, arg(st, "size") % (64 << 20)));
	close(fd);
}

void do_fwrite(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	size_t len = arg(st, "len") % IO_MAX;
	int fd = image_open(s, st);

	fill(io_buffer, len, arg(st, "pat"));
	result(s, pwrite(fd, io_buffer, len, arg(st, "off") % (64 << 20)));
	close(fd);
}

void do_ptable(struct side *s, const struct step *st, unsigned long cmd __unused)
{
	int fd = image_open(s, st);
	char sector[512];
	struct stat stat;

	partition_table(sector, arg(st, "kind"));
	result(s, pwrite(fd, sector, sizeof(sector), 0));
	/* A file that had nothing has a whole block, see "whole". */
	if (!fstat(fd, &stat) && stat.st_size == sizeof(sector) && ftruncate(fd, 4096))
		die("ftruncate: %m");
	close(fd);
}

/* The node of a device that may have gone makes a new one of it. */
void do_opendead(struct side *s, const struct step *st, unsigned long cmd __unused)
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

void do_poke(struct side *s, const struct step *st, unsigned long cmd __unused)
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

void do_snap(struct side *s, const struct step *st __unused, unsigned long cmd __unused)
{
	snap_lines(s);
}

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
	if (avoided(s, st))
		put(&s->out, "ret=avoided\n");
	else
		ops[st->op].run(s, st, ops[st->op].cmd);
}

void step_run(const struct step *st)
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
