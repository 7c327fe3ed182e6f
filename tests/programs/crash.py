#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""What was acknowledged must outlive the machine. See crash_consistency.sh.

usage: crash.py PREFIX CYCLE write|verify ACKNOWLEDGED LOAD...

Each load has a disk of its own (/dev/vdb, vdc, ...) with a filesystem and an
image in it, and a loop device over that. First all that earlier cycles have
acknowledged, as the file ACKNOWLEDGED has it, is looked for; then more is written,
until the machine is killed, or all is undone again (verify). Lines on standard
output, each written at once:

    verified LOAD WHAT...               all is there
    failed LOAD WHY
    ack LOAD d FIRST COUNT SEQ ...      blocks with data
    ack LOAD z FIRST COUNT SEQ          blocks of zeroes
    ack LOAD f NAME SEED SIZE           a file

A block with data has its number, the sequence number of the write, and a
checksum. One that is older than the last acknowledged write is lost. One that is
newer was written when the machine was killed. There are no others.
"""

import ctypes
import fcntl
import itertools
import mmap
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import zlib

import loopioctl
import syscalls

BLOCK = 4096
GROUP = 8
HEADER = struct.Struct("=8sQQI")
MAGIC = b"rloopack"
ZEROES = bytes(BLOCK)
# Before each cycle's writes, one of so many parts of the device is zeroed.
PARTS = 8
CYCLE_WRITES = 1_000_000
# Files of older cycles are removed.
KEPT_CYCLES = 3
MOST_FILES = 400
MOST_LOST = 30
WRITERS = 2
AIO_DEPTH = 8

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
RWF_DSYNC = 2
IOCB = struct.Struct("=QIIHhIQQqQII")
EVENT = struct.Struct("=QQqq")

libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    pass


def checked(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def mount(what, where, options=""):
    checked(libc.mount(what.encode(), where.encode(), b"ext4", 0, options.encode()),
            f"mount {what}")


def unmount(where):
    checked(libc.umount2(where.encode(), 0), f"umount {where}")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        output = done.stdout.decode(errors="replace").strip().replace("\n", "; ")
        raise Failure(f"{' '.join(command)} exited with {done.returncode}: {output[-1500:]}")


class Load:
    """One device, its disk, and what has been acknowledged there."""

    def __init__(self, name, index, prefix, cycle):
        self.name = name
        self.cycle = cycle
        self.direct = name.endswith("-direct")
        self.device = f"/dev/{prefix}{index}"
        self.disk = f"/dev/vd{chr(ord('b') + index)}"
        self.top = f"/run/crash/{name}"
        self.written = itertools.count(cycle * CYCLE_WRITES + 1)

    def attach(self):
        os.makedirs(self.top)
        # What the filesystem below commits by itself would hide what the device
        # does not flush.
        mount(self.disk, self.top, "commit=300")
        image = os.open(f"{self.top}/image", os.O_RDWR)
        device = os.open(self.device, os.O_RDWR)
        flags = loopioctl.LO_FLAGS_DIRECT_IO if self.direct else 0
        config = loopioctl.config(image, info=loopioctl.info64(flags=flags))
        fcntl.ioctl(device, loopioctl.LOOP_CONFIGURE, config)
        os.close(device)
        os.close(image)
        with open(f"/sys/block/{os.path.basename(self.device)}/loop/dio", encoding="ascii") as dio:
            if int(dio.read()) != self.direct:
                raise Failure("the device is not in the mode that was asked for")

    def detach(self):
        device = os.open(self.device, os.O_RDWR)
        fcntl.ioctl(device, loopioctl.LOOP_CLR_FD)
        os.close(device)
        unmount(self.top)

    def start(self, writers):
        """Run until the machine is killed, or something fails."""
        failed = threading.Event()

        def guarded(writer):
            try:
                writer()
            except BaseException as error:  # whatever it is, it must be seen
                say("failed", self.name, "writing:", repr(error))
                failed.set()

        for writer in writers:
            threading.Thread(target=guarded, args=(writer,), daemon=True).start()
        failed.wait()
        raise SystemExit(1)


class Buffer:
    """Aligned memory for a group of blocks."""

    def __init__(self):
        self.memory = mmap.mmap(-1, GROUP * BLOCK)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def fill(self, first, count, seq, rng):
        for i in range(count):
            payload = rng.randbytes(BLOCK - HEADER.size)
            number = struct.pack("=QQ", first + i, seq)
            header = HEADER.pack(MAGIC, first + i, seq, zlib.crc32(payload, zlib.crc32(number)))
            self.memory[i * BLOCK:(i + 1) * BLOCK] = header + payload


def sequence(number, block):
    """The sequence number of a block's data; 0 for zeroes."""
    if block == ZEROES:
        return 0
    magic, found, seq, crc = HEADER.unpack_from(block)
    if magic != MAGIC:
        raise Failure(f"block {number} is garbage, it begins with {block[:16].hex()}")
    payload = zlib.crc32(block[8:24])
    if zlib.crc32(block[HEADER.size:], payload) != crc:
        raise Failure(f"block {number} is torn, its head is of block {found} write {seq}")
    if found != number:
        raise Failure(f"block {number} has the data of block {found} write {seq}")
    return seq


class Blocks(Load):
    """Blocks of the device itself."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.data = {}
        self.zeroed = {}
        # Those that a cycle may have zeroed without the acknowledgement of it
        # being seen.
        self.unsure = set()
        self.blocks = 0

    def attach(self):
        super().attach()
        self.blocks = os.path.getsize(f"{self.top}/image") // BLOCK

    def part(self, cycle):
        size = self.blocks // PARTS
        return range(cycle % PARTS * size, (cycle % PARTS + 1) * size)

    def begun(self, cycle):
        self.unsure.update(self.part(cycle))

    def acknowledged(self, kind, *numbers):
        for first, count, seq in zip(*[iter(map(int, numbers))] * 3):
            into = self.data if kind == "d" else self.zeroed
            for block in range(first, first + count):
                into[block] = max(into.get(block, 0), seq)
                self.unsure.discard(block)

    def judge(self, number, block):
        """Returns whether it is newer than what was acknowledged."""
        data, zeroed = self.data.get(number, 0), self.zeroed.get(number, 0)
        seq = sequence(number, block)
        if seq >= self.cycle * CYCLE_WRITES:
            raise Failure(f"block {number} has write {seq}, which is still to come")
        if seq < max(data, zeroed) and (seq or (data > zeroed and number not in self.unsure)):
            had = f"write {seq}" if seq else "zeroes"
            what = f"write {data}" if data > zeroed else f"zeroes {zeroed}"
            raise Failure(f"block {number} is lost: it has {had}, {what} was acknowledged")
        return seq > max(data, zeroed)

    def verify(self):
        newer, wrong = 0, []
        fd = os.open(self.device, os.O_RDONLY | os.O_DIRECT)
        buffer = Buffer()
        for first in range(0, self.blocks, GROUP):
            if os.preadv(fd, [buffer.memory], first * BLOCK) != GROUP * BLOCK:
                raise Failure(f"short read at block {first}")
            for i in range(GROUP):
                try:
                    newer += self.judge(first + i, buffer.memory[i * BLOCK:(i + 1) * BLOCK])
                except Failure as failure:
                    wrong.append(failure)
        os.close(fd)
        if wrong:
            raise Failure(f"{len(wrong)} blocks of {len(self.data)}: {'; '.join(map(str, wrong[:5]))}")
        return f"{len(self.data)} blocks, {newer} newer"

    def zero(self, fd):
        """Zero a part, by a hole in the file or by space that is not written."""
        part = self.part(self.cycle)
        mode = KEEP_SIZE | (PUNCH_HOLE if self.cycle % 2 else ZERO_RANGE)
        start, length = ctypes.c_long(part.start * BLOCK), ctypes.c_long(len(part) * BLOCK)
        checked(libc.fallocate(fd, mode, start, length), "fallocate")
        os.fdatasync(fd)
        say("ack", self.name, "z", part.start, len(part), self.cycle * CYCLE_WRITES)

    def draw(self, rng, writer, writers):
        """A few blocks that no other writer has; some parts are written often."""
        groups = self.blocks // GROUP // writers
        group = rng.randrange(groups if rng.randrange(4) else groups // 8) * writers + writer
        first = rng.randrange(GROUP)
        return group * GROUP + first, rng.randint(1, GROUP - first)

    def write(self):
        fd = os.open(self.device, os.O_RDWR | os.O_DIRECT)
        self.zero(fd)
        self.start(self.writers(fd))


class Synced(Blocks):
    """Writes, then fdatasync, which acknowledges them."""

    def writers(self, fd):
        return [lambda number=number: self.writer(fd, number) for number in range(WRITERS)]

    def writer(self, fd, number):
        rng, buffer = random.Random(), Buffer()
        while True:
            written = []
            for _ in range(rng.randint(1, 6)):
                first, count = self.draw(rng, number, WRITERS)
                seq = next(self.written)
                buffer.fill(first, count, seq, rng)
                length = os.pwritev(fd, [memoryview(buffer.memory)[:count * BLOCK]], first * BLOCK)
                if length != count * BLOCK:
                    raise Failure(f"short write: {length} of {count} blocks")
                written += [first, count, seq]
            os.fdatasync(fd)
            say("ack", self.name, "d", *written)


class Fua(Blocks):
    """Asynchronous writes with RWF_DSYNC. A synchronous one is followed by a flush
    of the device even where it could do FUA."""

    def writers(self, fd):
        return [lambda: self.writer(fd)]

    def writer(self, fd):
        rng = random.Random()
        buffers = [Buffer() for _ in range(AIO_DEPTH)]
        blocks = [ctypes.create_string_buffer(IOCB.size) for _ in buffers]
        events = ctypes.create_string_buffer(EVENT.size * AIO_DEPTH)
        context = ctypes.c_ulong(0)
        flying = {}
        syscalls.call("io_setup", AIO_DEPTH, ctypes.byref(context))

        def submit(slot):
            first, count = self.draw(rng, slot, AIO_DEPTH)
            seq = next(self.written)
            buffers[slot].fill(first, count, seq, rng)
            blocks[slot].raw = IOCB.pack(slot, 0, RWF_DSYNC, 1, 0, fd, buffers[slot].address,
                                         count * BLOCK, first * BLOCK, 0, 0, 0)
            one = ctypes.c_void_p(ctypes.addressof(blocks[slot]))
            syscalls.call("io_submit", context, 1, ctypes.byref(one))
            flying[slot] = first, count, seq

        for slot in range(AIO_DEPTH):
            submit(slot)
        while True:
            done = syscalls.call("io_getevents", context, 1, AIO_DEPTH, events, None)
            slots = []
            for i in range(done):
                slot, _, result, _ = EVENT.unpack_from(events, i * EVENT.size)
                if result != flying[slot][1] * BLOCK:
                    raise Failure(f"a write ended with {result}")
                slots.append(slot)
            say("ack", self.name, "d", *itertools.chain(*(flying[slot] for slot in slots)))
            for slot in slots:
                submit(slot)


class Control(Blocks):
    """Says so of writes that nothing has flushed: some must be lost, or killing the
    machine does not show whether the other loads' flushes do anything."""

    def begun(self, cycle):
        self.data.clear()

    def verify(self):
        lost = 0
        fd = os.open(self.device, os.O_RDONLY | os.O_DIRECT)
        buffer = Buffer()
        for number, seq in self.data.items():
            os.preadv(fd, [memoryview(buffer.memory)[:BLOCK]], number * BLOCK)
            lost += sequence(number, buffer.memory[:BLOCK]) < seq
        os.close(fd)
        if self.data and not lost:
            raise Failure(f"none of {len(self.data)} blocks that were not flushed is lost")
        return f"{lost} of {len(self.data)} blocks are lost, as they should"

    def writers(self, fd):
        return [lambda: self.writer(fd)]

    def writer(self, fd):
        rng, buffer = random.Random(), Buffer()
        for _ in range(MOST_LOST):
            first, count = self.draw(rng, 0, 1)
            seq = next(self.written)
            buffer.fill(first, count, seq, rng)
            os.pwritev(fd, [memoryview(buffer.memory)[:count * BLOCK]], first * BLOCK)
            say("ack", self.name, "d", first, count, seq)


class Files(Load):
    """Small files on ext4 on the device, each with fsync."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.files = {}
        self.root = f"/run/crash/{self.name}.mnt"

    def begun(self, cycle):
        pass

    def acknowledged(self, _, name, seed, size):
        if int(name.split("/")[0]) >= self.cycle - KEPT_CYCLES:
            self.files[name] = int(seed), int(size)

    def mount(self):
        mount(self.device, self.root)

    def attach(self):
        super().attach()
        os.makedirs(self.root)
        self.mount()

    def verify(self):
        wrong = []
        for name, (seed, size) in self.files.items():
            try:
                with open(f"{self.root}/{name}", "rb") as file:
                    if file.read() != random.Random(seed).randbytes(size):
                        wrong.append(f"{name} has other content")
            except OSError as error:
                wrong.append(f"{name}: {error.strerror}")
        if wrong:
            raise Failure(f"{len(wrong)} files of {len(self.files)}: {'; '.join(wrong[:5])}")
        unmount(self.root)
        run("e2fsck", "-f", "-n", self.device)
        self.mount()
        return f"{len(self.files)} files, fsck is clean"

    def detach(self):
        unmount(self.root)
        super().detach()

    def write(self):
        for name in os.listdir(self.root):
            if name.isdigit() and int(name) <= self.cycle - KEPT_CYCLES:
                shutil.rmtree(f"{self.root}/{name}")
        os.mkdir(f"{self.root}/{self.cycle}")
        self.start([lambda number=number: self.writer(number) for number in range(WRITERS)])

    def writer(self, number):
        rng = random.Random()
        for i in range(MOST_FILES):
            name = f"{self.cycle}/{number}.{i}"
            seed, size = rng.randrange(1 << 32), rng.randrange(12000)
            with open(f"{self.root}/{name}", "wb") as file:
                file.write(random.Random(seed).randbytes(size))
                file.flush()
                os.fsync(file.fileno())
            say("ack", self.name, "f", name, seed, size)


KINDS = {"sync": Synced, "fua": Fua, "ext4": Files, "control": Control}


def read_acknowledged(path, load):
    """Lines of the host: those of every earlier cycle, behind a line with its number."""
    with open(path, encoding="ascii") as lines:
        for line in lines:
            what, of, *words = line.split()
            if what == "cycle":
                load.begun(int(of))
            elif of == load.name:
                load.acknowledged(*words)


class Gate:
    """Lets writers through when all loads have been verified, if they have."""

    def __init__(self, loads):
        self.loads = loads
        self.arrived = os.pipe()
        self.opened = os.pipe()

    def arrive(self, good):
        """In a load's process: say how it went. Returns whether to go on."""
        os.close(self.opened[1])
        os.write(self.arrived[1], b"+" if good else b"-")
        return bool(os.read(self.opened[0], 1))

    def guard(self):
        """In the parent: wait for all of them."""
        os.close(self.arrived[1])
        good = sum(os.read(self.arrived[0], 1) == b"+" for _ in range(self.loads))
        if good == self.loads:
            os.write(self.opened[1], bytes(good))
        os.close(self.opened[1])


def prove(load, path):
    """Returns whether all is there."""
    try:
        load.attach()
        read_acknowledged(path, load)
        say("verified", load.name, load.verify())
    except Failure as failure:
        say("failed", load.name, failure)
        return False
    except Exception as error:  # the others wait for this one
        say("failed", load.name, repr(error))
        return False
    return True


def one(load, mode, path, gate):
    if not gate.arrive(prove(load, path)):
        raise SystemExit(1)
    try:
        if mode == "write":
            load.write()
        load.detach()
    except (Failure, OSError) as error:
        say("failed", load.name, error)
        raise SystemExit(1) from None


def main():
    prefix, cycle, mode, path, *names = sys.argv[1:]
    gate = Gate(len(names))
    children = []
    for index, name in enumerate(names):
        kind = KINDS[name.split("-")[0]]
        pid = os.fork()
        if pid == 0:
            one(kind(name, index, prefix, int(cycle)), mode, path, gate)
            sys.exit()
        children.append(pid)
    gate.guard()
    failed = 0
    for _ in children:
        # The others would write forever.
        failed |= os.wait()[1]
        if failed:
            break
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
