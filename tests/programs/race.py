#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Everything that can be done to loop devices, by several processes at once.

usage: race.py PREFIX DIRECTORY SECONDS

Each process draws one operation after the other; now and then one is killed in
the middle and another takes its place. At the end every device must be unbound
and removable. Prints how often each operation succeeded and with which errors
it failed; an error that does not belong to an operation, or an operation that
never succeeded, fails. On a slow kernel an operation may succeed in none of its few attempts,
so all goes on for up to four times SECONDS while there is one.
"""

import ctypes
import errno
import fcntl
import os
import random
import signal
import sys
import time

import loopioctl

PROCESSES = 6
FIXED = range(4)
COMING_AND_GOING = range(40, 43)
KILL_EVERY = 0.7
ROUNDS = 4

# Errors that an operation may give if it comes at the wrong time.
USUAL = {errno.EBUSY, errno.ENXIO, errno.EINVAL, errno.ENODEV, errno.ENOENT, errno.EIO}
ALLOWED = {
    "attach": {errno.EBADF, errno.EROFS},
    "attach_fd": {errno.EBADF, errno.EROFS},
    "change_fd": {errno.EBADF},
    "add": {errno.EEXIST},
    "write": {errno.EPERM, errno.EROFS, errno.ENOSPC},
    "discard": {errno.EPERM, errno.EOPNOTSUPP, errno.EROFS, errno.EBADF},
    "mount": {errno.EACCES, errno.EROFS, errno.EUCLEAN, errno.EBADMSG},
    "partition": {errno.ERANGE},
    "read": {errno.ENODATA},
}

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REC, MS_PRIVATE, MNT_DETACH = 1, 0x4000, 0x40000, 2

libc = ctypes.CDLL(None, use_errno=True)


class Handles:
    """File descriptors that one operation uses."""

    def __init__(self):
        self.open_ones = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in self.open_ones:
            os.close(fd)

    def __call__(self, path, flags=os.O_RDWR):
        fd = os.open(path, flags)
        self.open_ones.append(fd)
        return fd


class Actor:
    def __init__(self, prefix, directory, rng):
        self.prefix = prefix
        self.directory = directory
        self.rng = rng
        self.held = None

    def device(self, numbers=None):
        pool = numbers or (*FIXED, *FIXED, *COMING_AND_GOING)
        return f"/dev/{self.prefix}{self.rng.choice(pool)}"

    def backing(self, fd):
        """A file for a device: mostly an image, at times another device."""
        if self.rng.randrange(5) == 0:
            return fd(self.device(), self.rng.choice((os.O_RDWR, os.O_RDONLY)))
        name = self.rng.choice(("raw0", "raw1", "table", "ext4"))
        mode = os.O_RDONLY if name == "ext4" else os.O_RDWR
        direct = os.O_DIRECT if self.rng.randrange(4) == 0 else 0
        return fd(f"{self.directory}/{name}", mode | direct)

    def attach(self, fd):
        flags = 0
        for flag in (loopioctl.LO_FLAGS_READ_ONLY, loopioctl.LO_FLAGS_AUTOCLEAR,
                     loopioctl.LO_FLAGS_PARTSCAN, loopioctl.LO_FLAGS_DIRECT_IO):
            flags |= flag if self.rng.randrange(3) == 0 else 0
        backing, block_size = self.backing(fd), self.rng.choice((0, 0, 512, 4096))
        info = loopioctl.info64(offset=self.rng.choice((0, 0, 4096, 512)), flags=flags)
        config = loopioctl.config(backing, block_size, info)
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_CONFIGURE, config)

    def attach_fd(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_SET_FD, self.backing(fd))

    def detach(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_CLR_FD)

    def change_fd(self, fd):
        """Works on a device that is read-only. One that has no file becomes that first."""
        device, image = fd(self.device()), fd(f"{self.directory}/raw1", os.O_RDONLY)
        try:
            info = loopioctl.info64(flags=loopioctl.LO_FLAGS_READ_ONLY)
            fcntl.ioctl(device, loopioctl.LOOP_CONFIGURE, loopioctl.config(image, 0, info))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        fcntl.ioctl(device, loopioctl.LOOP_CHANGE_FD, image)

    def set_status(self, fd):
        flags = self.rng.choice((0, loopioctl.LO_FLAGS_AUTOCLEAR, loopioctl.LO_FLAGS_PARTSCAN))
        info = loopioctl.info64(offset=self.rng.choice((0, 4096)), flags=flags)
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_SET_STATUS64, info)

    def get_status(self, fd):
        fcntl.ioctl(fd(self.device(), os.O_RDONLY), loopioctl.LOOP_GET_STATUS64, bytearray(loopioctl.INFO64.size))

    def set_capacity(self, fd):
        path = f"{self.directory}/raw0"
        os.truncate(path, self.rng.choice((1 << 20, 3 << 20)))
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_SET_CAPACITY)

    def set_block_size(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_SET_BLOCK_SIZE, self.rng.choice((512, 1024, 4096)))

    def set_direct_io(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.LOOP_SET_DIRECT_IO, self.rng.randrange(2))

    def scan(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.BLKRRPART)

    def partition(self, fd):
        handle = fd(self.device())
        number = self.rng.randrange(1, 4)
        for operation in (loopioctl.BLKPG_ADD_PARTITION, loopioctl.BLKPG_DEL_PARTITION):
            part = loopioctl.BLKPG_PARTITION.pack(4096 * number, 4096, number, b"", b"")
            buffer = ctypes.create_string_buffer(part)
            argument = loopioctl.BLKPG_ARGUMENT.pack(operation, 0, len(part),
                                                     ctypes.addressof(buffer))
            fcntl.ioctl(handle, loopioctl.BLKPG, argument)

    def read(self, fd):
        os.pread(fd(self.device(), os.O_RDONLY), 65536, 0)

    def write(self, fd):
        handle = fd(self.device())
        os.pwrite(handle, bytes([self.rng.randrange(256)]) * 8192, 1 << 19)
        os.fsync(handle)

    def discard(self, fd):
        fcntl.ioctl(fd(self.device()), loopioctl.BLKDISCARD, loopioctl.RANGE.pack(1 << 19, 8192))

    def exclusive(self, fd):
        handle = fd(self.device(), os.O_RDWR | os.O_EXCL)
        fcntl.ioctl(handle, loopioctl.BLKFLSBUF)

    def hold(self, _):
        """Keep a device open over the next operations."""
        self.let_go()
        self.held = os.open(self.device(), os.O_RDONLY)

    def let_go(self):
        if self.held is not None:
            os.close(self.held)
            self.held = None

    def mount(self, _):
        where = f"{self.directory}/mnt.{os.getpid()}"
        os.makedirs(where, exist_ok=True)
        arguments = (self.device().encode(), where.encode(), b"ext4", MS_RDONLY, b"noload")
        if libc.mount(*arguments):
            raise OSError(ctypes.get_errno(), "mount")
        try:
            os.listdir(where)
        finally:
            libc.umount2(where.encode(), MNT_DETACH)

    def control(self, fd, request, number):
        return fcntl.ioctl(fd(f"/dev/{self.prefix}-control"), request, number)

    def add(self, fd):
        self.control(fd, loopioctl.LOOP_CTL_ADD, self.rng.choice(COMING_AND_GOING))

    def remove(self, fd):
        self.control(fd, loopioctl.LOOP_CTL_REMOVE, self.rng.choice(COMING_AND_GOING))

    def get_free(self, fd):
        self.control(fd, loopioctl.LOOP_CTL_GET_FREE, 0)

    def look(self, _):
        """Read what there is to read about a device."""
        name = os.path.basename(self.device())
        for directory in ("loop", "queue", "."):
            path = f"/sys/block/{name}/{directory}"
            for entry in os.listdir(path):
                try:
                    with open(f"{path}/{entry}", "rb") as attribute:
                        attribute.read()
                except (IsADirectoryError, PermissionError):
                    pass
        try:
            with open(f"/sys/kernel/debug/rust_loop/{name}/workers", "rb") as workers:
                workers.read()
        except FileNotFoundError:
            pass


# Those that make a device bound, and those that need it bound, more often.
OPERATIONS = ("attach attach attach attach_fd attach_fd detach detach change_fd set_status get_status"
              " set_capacity set_block_size set_direct_io scan partition read read write discard"
              " exclusive hold mount mount add remove get_free look").split()


def act(prefix, directory, seed, end, results):
    # Mounts of a killed process go with it.
    libc.unshare(CLONE_NEWNS)
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    actor = Actor(prefix, directory, random.Random(seed))
    while time.monotonic() < end:
        name = actor.rng.choice(OPERATIONS)
        code = 0
        try:
            with Handles() as handles:
                getattr(actor, name)(handles)
        except OSError as error:
            code = error.errno
        if actor.rng.randrange(4) == 0:
            actor.let_go()
        # One short line, in one piece.
        os.write(results, f"{name} {code}\n".encode())
    actor.let_go()


def spawn(arguments):
    pid = os.fork()
    if pid == 0:
        try:
            act(*arguments)
        finally:
            os._exit(0)
    return pid


def run(prefix, directory, seconds, rng):
    end = time.monotonic() + seconds
    with open(f"{directory}/results", "wb+") as results:
        out = os.open(f"{directory}/results", os.O_WRONLY | os.O_APPEND)

        def start():
            return spawn((prefix, directory, rng.random(), end, out))

        actors = [start() for _ in range(PROCESSES)]
        while time.monotonic() < end - KILL_EVERY:
            time.sleep(KILL_EVERY)
            victim = rng.randrange(PROCESSES)
            os.kill(actors[victim], signal.SIGKILL)
            os.waitpid(actors[victim], 0)
            actors[victim] = start()
        for pid in actors:
            os.waitpid(pid, 0)
        os.close(out)
        return results.read().decode().split("\n")


def tally(lines):
    counts = {name: {} for name in OPERATIONS}
    for line in filter(None, lines):
        name, code = line.split()
        counts[name][int(code)] = counts[name].get(int(code), 0) + 1
    return counts


def judge(counts):
    wrong = []
    for name, codes in sorted(counts.items()):
        text = ", ".join(f"{errno.errorcode.get(code, 'ok')} {count}"
                         for code, count in sorted(codes.items()))
        print(f"{name}: {text}")
        wrong += [f"{name}: {errno.errorcode.get(code, code)}" for code in codes
                  if code and code not in USUAL | ALLOWED.get(name, set())]
        if not codes.get(0):
            wrong.append(f"{name}: never succeeded")
    print(f"{sum(map(lambda codes: sum(codes.values()), counts.values()))} operations")
    return wrong


def bound(name):
    try:
        with open(f"/sys/block/{name}/size") as size:
            return int(size.read()) > 0 or os.path.isdir(f"/sys/block/{name}/loop")
    except FileNotFoundError:
        return False


def unbind(name):
    """Try to detach a device; what is on top of it has to go first."""
    try:
        with Handles() as handles:
            fcntl.ioctl(handles(f"/dev/{name}"), loopioctl.LOOP_CLR_FD)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):
            raise


def tidy(prefix):
    names = [name for name in os.listdir("/sys/block")
             if name.startswith(prefix) and name[len(prefix):].isdigit()]
    deadline = time.monotonic() + 60
    while any(map(bound, names)):
        for name in filter(bound, names):
            unbind(name)
        if time.monotonic() > deadline:
            sys.exit(f"still bound: {' '.join(filter(bound, names))}")
        time.sleep(0.05)
    with Handles() as handles:
        control = handles(f"/dev/{prefix}-control")
        for name in names:
            while True:
                try:
                    fcntl.ioctl(control, loopioctl.LOOP_CTL_REMOVE, int(name[len(prefix):]))
                    break
                except OSError as error:
                    # udev may still be looking.
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        sys.exit(f"{name} cannot be removed: {error.strerror}")
                time.sleep(0.05)


def main():
    prefix, directory, seconds = sys.argv[1:]
    seed = int(os.environ.get("SEED", time.time()))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    lines = []
    for _ in range(ROUNDS):
        lines += run(prefix, directory, int(seconds), rng)
        counts = tally(lines)
        if all(codes.get(0) for codes in counts.values()):
            break
    wrong = judge(counts)
    tidy(prefix)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
