#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Issue one loop ioctl and print `ok` or the name of the errno.

Unlike losetup this sends exactly what it is asked to send, sensible or not.
The exit status is 0 whenever the kernel answered. As `serve` it reads commands
from standard input, one a line, and ends each answer with a line of one dot.
"""

import argparse
import errno
import fcntl
import os
import shlex
import sys

import loopioctl

BLKPG_OPS = {"add": loopioctl.BLKPG_ADD_PARTITION, "del": loopioctl.BLKPG_DEL_PARTITION}

ACCESS = {"ro": os.O_RDONLY, "rw": os.O_RDWR, "wo": os.O_WRONLY, "path": os.O_PATH}

# File descriptors that one command has opened.
opened = []
# File descriptors that `hold` has opened, until `release`.
held = []


def keep(fd):
    opened.append(fd)
    return fd


def close_all():
    while opened:
        os.close(opened.pop(0))


def number(text):
    return int(text, 0)


def request(text):
    """An ioctl by its name or number."""
    return getattr(loopioctl, text) if text[0].isalpha() else number(text)


def ioctl_long(fd, request, argument):
    """As fcntl.ioctl(), for an argument that no int can hold."""
    import ctypes  # slow to load, seldom needed
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(fd, ctypes.c_ulong(request), ctypes.c_ulong(argument)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def info(args):
    return loopioctl.info64(args.offset, args.sizelimit, args.flags, args.name.encode(),
                            args.encrypt_type, args.key_size)


def backing(args):
    """The file descriptor to hand over; sockets and pipes by name."""
    if args.file == "closed":
        return 999
    if args.file == "negative":
        return 0xFFFFFFFF
    if args.file == "socket":
        import socket  # slow to load, seldom needed
        return keep(socket.socket(socket.AF_UNIX).detach())
    if args.file == "pipe":
        ends = os.pipe()
        keep(ends[1])
        return keep(ends[0])
    if args.file == "memfd":
        fd = keep(os.memfd_create("image"))
        os.ftruncate(fd, 1 << 20)
        return fd
    mode = ACCESS[args.file_mode]
    if args.direct:
        mode |= os.O_DIRECT
    if args.user is not None:
        return keep(open_as(args.user, args.file, mode))
    return keep(os.open(args.file, mode))


def open_as(user, path, mode):
    """A file as another process of that user opens it and hands it over."""
    import socket  # slow to load, seldom needed
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            socket.send_fds(theirs, [b"x"], [os.open(path, mode)])
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    theirs.close()
    with ours:
        _data, fds, _flags, _address = socket.recv_fds(ours, 1, 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return fds[0]


def open_device(args):
    mode = ACCESS[args.dev_mode]
    if args.excl:
        mode |= os.O_EXCL
    return keep(os.open(args.device, mode))


def configure(args):
    fd = backing(args)
    config = loopioctl.config(fd, args.block_size, info(args))
    fcntl.ioctl(open_device(args), loopioctl.LOOP_CONFIGURE, config)


def fd_argument(args):
    fd = backing(args)
    if fd > 0x7FFFFFFF:
        fd -= 1 << 32
    return fd


def set_fd(args):
    fd = fd_argument(args)
    fcntl.ioctl(open_device(args), loopioctl.LOOP_SET_FD, fd)


def clr_fd(args):
    fcntl.ioctl(open_device(args), loopioctl.LOOP_CLR_FD, 0)


def status(args):
    raw = bytearray(loopioctl.INFO64.size)
    fcntl.ioctl(open_device(args), loopioctl.LOOP_GET_STATUS64, raw)
    values = loopioctl.INFO64.unpack(raw)
    names = ("device", "inode", "rdevice", "offset", "sizelimit", "number",
             "encrypt_type", "encrypt_key_size", "flags")
    for name, value in zip(names, values):
        print(f"{name}={value}")
    print("name=" + values[9].split(b"\0")[0].decode())


def set_status(args):
    fcntl.ioctl(open_device(args), loopioctl.LOOP_SET_STATUS64, info(args))


def set_capacity(args):
    fcntl.ioctl(open_device(args), loopioctl.LOOP_SET_CAPACITY, 0)


def change_fd(args):
    fd = fd_argument(args)
    fcntl.ioctl(open_device(args), loopioctl.LOOP_CHANGE_FD, fd)


def set_direct_io(args):
    fcntl.ioctl(open_device(args), loopioctl.LOOP_SET_DIRECT_IO, args.value)


def set_block_size(args):
    ioctl_long(open_device(args), loopioctl.LOOP_SET_BLOCK_SIZE, args.value)


def old_status(args):
    raw = bytearray(loopioctl.INFO.size)
    fcntl.ioctl(open_device(args), loopioctl.LOOP_GET_STATUS, raw)
    values = loopioctl.INFO.unpack(raw)
    names = ("number", "device", "inode", "rdevice", "offset", "encrypt_type",
             "encrypt_key_size", "flags")
    for name, value in zip(names, values):
        print(f"{name}={value}")
    print("name=" + values[8].split(b"\0")[0].decode())


def set_old_status(args):
    info = loopioctl.INFO.pack(0, 0, 0, 0, args.offset, args.encrypt_type, args.key_size,
                               args.flags, args.name.encode(), b"", 0, 0, b"")
    fcntl.ioctl(open_device(args), loopioctl.LOOP_SET_STATUS, info)


def partition(args):
    import ctypes  # slow to load, seldom needed
    values = loopioctl.BLKPG_PARTITION.pack(args.start, args.length, args.number, b"", b"")
    data = ctypes.create_string_buffer(values, len(values))
    argument = loopioctl.BLKPG_ARGUMENT.pack(BLKPG_OPS[args.what], 0, len(values), ctypes.addressof(data))
    fcntl.ioctl(open_device(args), loopioctl.BLKPG, argument)


def rescan(args):
    fcntl.ioctl(open_device(args), loopioctl.BLKRRPART)


def hold(args):
    held.append(open_device(args))
    opened.clear()


def release(args):
    while held:
        os.close(held.pop())


def raw(args):
    fcntl.ioctl(open_device(args), args.request, args.argument)


def control(args):
    requests = {"add": loopioctl.LOOP_CTL_ADD, "remove": loopioctl.LOOP_CTL_REMOVE, "get-free": loopioctl.LOOP_CTL_GET_FREE}
    code = requests[args.what] if args.what in requests else request(args.what)
    fd = keep(os.open(args.control, os.O_RDWR))
    print(fcntl.ioctl(fd, code, args.index))


def make_parser():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)

    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("device")
    device.add_argument("--dev-mode", choices=ACCESS, default="rw")
    device.add_argument("--excl", action="store_true")

    image = argparse.ArgumentParser(add_help=False)
    image.add_argument("file")
    image.add_argument("--file-mode", choices=ACCESS, default="rw")
    image.add_argument("--direct", action="store_true")
    image.add_argument("--user", type=number, help="of the process that opens the file")

    values = argparse.ArgumentParser(add_help=False)
    values.add_argument("--offset", type=number, default=0)
    values.add_argument("--sizelimit", type=number, default=0)
    values.add_argument("--flags", type=number, default=0)
    values.add_argument("--name", default="")
    values.add_argument("--encrypt-type", type=number, default=0)
    values.add_argument("--key-size", type=number, default=0)

    sub = commands.add_parser("configure", parents=[device, image, values])
    sub.add_argument("--block-size", type=number, default=0)
    sub.set_defaults(run=configure, quiet=False)
    sub = commands.add_parser("set-fd", parents=[device, image])
    sub.set_defaults(run=set_fd, quiet=False)
    sub = commands.add_parser("clr-fd", parents=[device])
    sub.set_defaults(run=clr_fd, quiet=False)
    sub = commands.add_parser("status", parents=[device])
    sub.set_defaults(run=status, quiet=True)
    sub = commands.add_parser("set-status", parents=[device, values])
    sub.set_defaults(run=set_status, quiet=False)
    sub = commands.add_parser("set-capacity", parents=[device])
    sub.set_defaults(run=set_capacity, quiet=False)
    sub = commands.add_parser("change-fd", parents=[device, image])
    sub.set_defaults(run=change_fd, quiet=False)
    sub = commands.add_parser("set-direct-io", parents=[device])
    sub.add_argument("value", type=number)
    sub.set_defaults(run=set_direct_io, quiet=False)
    sub = commands.add_parser("set-block-size", parents=[device])
    sub.add_argument("value", type=number)
    sub.set_defaults(run=set_block_size, quiet=False)
    sub = commands.add_parser("old-status", parents=[device])
    sub.set_defaults(run=old_status, quiet=True)
    sub = commands.add_parser("set-old-status", parents=[device, values])
    sub.set_defaults(run=set_old_status, quiet=False)
    sub = commands.add_parser("partition", parents=[device])
    sub.add_argument("what", choices=BLKPG_OPS)
    sub.add_argument("number", type=number)
    sub.add_argument("start", type=number, nargs="?", default=0)
    sub.add_argument("length", type=number, nargs="?", default=0)
    sub.set_defaults(run=partition, quiet=False)
    sub = commands.add_parser("rescan", parents=[device])
    sub.set_defaults(run=rescan, quiet=False)
    sub = commands.add_parser("hold", parents=[device])
    sub.set_defaults(run=hold, quiet=False)
    sub = commands.add_parser("release")
    sub.set_defaults(run=release, quiet=False)
    sub = commands.add_parser("raw", parents=[device])
    sub.add_argument("request", type=request)
    sub.add_argument("argument", type=number, nargs="?", default=0)
    sub.set_defaults(run=raw, quiet=False)
    sub = commands.add_parser("control")
    sub.add_argument("control")
    sub.add_argument("what")
    sub.add_argument("index", type=number, nargs="?", default=0)
    sub.set_defaults(run=control, quiet=True)

    return parser


def answer(args):
    try:
        args.run(args)
        if not args.quiet:
            print("ok")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error.errno))
    finally:
        close_all()


def main():
    parser = make_parser()
    if sys.argv[1:] != ["serve"]:
        answer(parser.parse_args())
        return
    for line in sys.stdin:
        answer(parser.parse_args(shlex.split(line)))
        print(".", flush=True)


if __name__ == "__main__":
    main()
