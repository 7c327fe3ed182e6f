#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Serve a filesystem with one file, as a FUSE server over /dev/fuse.

	fusefs.py [OPTION...] DIRECTORY STORE

DIRECTORY/file has the contents of STORE, a regular file, which is read, written and
punched for it. The server runs until the filesystem is unmounted. It never answers
without having been asked, so a stopped server (SIGSTOP) is a disk that hangs.

With --user the mount belongs to that user, and to no other: the kernel keeps root, too,
from looking at it. With --errors the server reads that file before each operation. A
line "OPERATION ERRNO", as "write EDQUOT", has such operations fail; OPERATION is read,
write, fsync, fallocate, punch, zero, getattr or statfs.
"""

import argparse
import ctypes
import errno
import os
import stat
import struct

MS_NOSUID, MS_NODEV = 2, 4

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS = 20, 25, 26, 27, 28, 29, 34
INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE = 36, 38, 42, 43

# struct fuse_in_header, fuse_out_header, and what follows them.
IN = struct.Struct("=2I2Q3I2H")
OUT = struct.Struct("=IiQ")
ATTR = struct.Struct("=6Q10I")
ENTRY = struct.Struct("=4Q2I")
ATTR_OUT = struct.Struct("=Q2I")
OPEN_OUT = struct.Struct("=Q2I")
INIT_IN = struct.Struct("=4I")
INIT_OUT = struct.Struct("=4I2H2I2HI28x")
READ_IN = struct.Struct("=2QI")
WRITE_IN = struct.Struct("=2Q2IQ2I")
WRITE_OUT = struct.Struct("=2I")
FALLOCATE_IN = struct.Struct("=3QI")
SETATTR_IN = struct.Struct("=2I2Q")
STATFS_OUT = struct.Struct("=5Q3I28x")

ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES = 1, 1 << 5, 1 << 15, 1 << 22
FATTR_SIZE = 1 << 3
FOPEN_DIRECT_IO = 1
PUNCH_HOLE, ZERO_RANGE = 2, 16

ROOT, FILE = 1, 2
MAX_WRITE = 128 << 10

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Server:
    def __init__(self, args):
        self.args = args
        self.store = os.open(args.store, os.O_RDWR)
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id={args.user},group_id={args.user}"
        check(libc.mount(b"fusefs", args.directory.encode(), b"fuse",
                         MS_NOSUID | MS_NODEV, options.encode()))

    def fail(self, *operations):
        """Raises what the file of --errors says for one of these."""
        if not self.args.errors:
            return
        with open(self.args.errors) as lines:
            for line in lines:
                operation, _, name = line.strip().partition(" ")
                if operation in operations:
                    raise OSError(getattr(errno, name), name)

    def attr(self, node):
        size = os.fstat(self.store).st_size if node == FILE else 0
        mode = stat.S_IFREG | 0o600 if node == FILE else stat.S_IFDIR | 0o700
        user = self.args.user
        return ATTR.pack(node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode,
                         1, user, user, 0, 4096, 0)

    def attr_out(self, node):
        return ATTR_OUT.pack(self.args.valid, 0, 0) + self.attr(node)

    def init(self, _node, data):
        _major, _minor, readahead, flags = INIT_IN.unpack_from(data)
        flags &= ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES
        return INIT_OUT.pack(7, 31, readahead, flags, 16, 12, MAX_WRITE, 1, MAX_WRITE >> 12, 0, 0)

    def lookup(self, node, data):
        if node != ROOT or data != b"file\0":
            raise OSError(errno.ENOENT, "")
        valid = self.args.valid
        return ENTRY.pack(FILE, 0, valid, valid, 0, 0) + self.attr(FILE)

    def getattr(self, node, _data):
        if node == FILE:
            self.fail("getattr")
        return self.attr_out(node)

    def setattr(self, node, data):
        valid, _, _fh, size = SETATTR_IN.unpack_from(data)
        if valid & FATTR_SIZE:
            os.ftruncate(self.store, size)
        return self.attr_out(node)

    def open(self, _node, _data):
        return OPEN_OUT.pack(0, FOPEN_DIRECT_IO if self.args.direct else 0, 0)

    def opendir(self, _node, _data):
        return OPEN_OUT.pack(0, 0, 0)

    def read(self, _node, data):
        self.fail("read")
        _fh, pos, size = READ_IN.unpack_from(data)
        return os.pread(self.store, size, pos)

    def write(self, _node, data):
        self.fail("write")
        _fh, pos, size, *_ = WRITE_IN.unpack_from(data)
        return WRITE_OUT.pack(os.pwrite(self.store, data[WRITE_IN.size:][:size], pos), 0)

    def fsync(self, _node, _data):
        self.fail("fsync")
        return b""

    def fallocate(self, _node, data):
        _fh, pos, length, mode = FALLOCATE_IN.unpack_from(data)
        self.fail("fallocate", "punch" if mode & PUNCH_HOLE else "zero")
        if (pos | length) % self.args.align:
            raise OSError(errno.EINVAL, "")
        if mode & PUNCH_HOLE:
            check(libc.fallocate(self.store, mode, ctypes.c_long(pos), ctypes.c_long(length)))
        elif mode & ZERO_RANGE:
            os.pwrite(self.store, bytes(length), pos)
        else:
            raise OSError(errno.EOPNOTSUPP, "")
        return b""

    def statfs(self, _node, _data):
        self.fail("statfs")
        size = self.args.block_size
        return STATFS_OUT.pack(1 << 20, 1 << 19, 1 << 19, 2, 0, size, 255, size)

    def nothing(self, _node, _data):
        return b""

    OPERATIONS = {
        INIT: init, LOOKUP: lookup, GETATTR: getattr, SETATTR: setattr, OPEN: open,
        OPENDIR: opendir, READ: read, WRITE: write, FSYNC: fsync, FALLOCATE: fallocate,
        STATFS: statfs, RELEASE: nothing, FLUSH: nothing, READDIR: nothing,
        RELEASEDIR: nothing, ACCESS: nothing, DESTROY: nothing,
    }
    NO_ANSWER = (FORGET, BATCH_FORGET, INTERRUPT)

    def answer(self, request):
        _len, opcode, unique, node, *_ = IN.unpack_from(request)
        if opcode in self.NO_ANSWER:
            return
        code, data = 0, b""
        try:
            operation = self.OPERATIONS.get(opcode)
            if not operation:
                raise OSError(errno.ENOSYS, "")
            data = operation(self, node, request[IN.size:])
        except OSError as error:
            code = -error.errno
        try:
            os.write(self.fuse, OUT.pack(OUT.size + len(data), code, unique) + data)
        except FileNotFoundError:
            pass  # interrupted meanwhile

    def serve(self):
        while True:
            try:
                request = os.read(self.fuse, MAX_WRITE + (1 << 16))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            self.answer(request)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--user", type=int, default=0)
    parser.add_argument("--errors", metavar="FILE")
    parser.add_argument("--direct", action="store_true",
                        help="the file has no page cache (FOPEN_DIRECT_IO)")
    parser.add_argument("--valid", type=int, default=3600, metavar="SECONDS",
                        help="how long the kernel believes what it has been told of the file")
    parser.add_argument("--align", type=int, default=1, metavar="BYTES",
                        help="ranges of fallocate are multiples of this")
    parser.add_argument("--block-size", type=int, default=4096, metavar="BYTES",
                        help="what statfs says")
    parser.add_argument("directory")
    parser.add_argument("store")
    Server(parser.parse_args()).serve()


if __name__ == "__main__":
    main()
