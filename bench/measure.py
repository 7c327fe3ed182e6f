#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the same workloads in a guest on a store and on loop devices on it: those of
loop.ko, of rust_loop and, if rublk is available, of ublk_drv.

usage: measure.py SET ROUNDS [NAME...]

SET is quick, full, parallel, processors, scaling or instructions; with NAMEs, only those
workloads run. Prints one JSON object per run, and the progress on standard error.

The speed of the host changes, within one run by a factor of two. Therefore one round runs
all workloads, with all peers of a workload directly one after the other, in an order in
which rust_loop is next to loop.ko and to the store; report.py compares neighbours. Each
second round has the reverse order. A workload whose ratios spread gets more rounds, at most
three times as many.

A cold read is a fixed number of I/Os, or short, and never reads a block twice. With a fixed
time, a reader would fill the cache for itself.

Environment:
  BENCH_PEERS="loop rust_loop"      measures only some peers
  BENCH_PARAMETERS="NAME=VALUE..."  module parameters of rust_loop
  BENCH_QUEUES=1                    a second peer: rust_loop with nr_hw_queues=1
  BENCH_IOS=N                       N I/Os instead of the number given here
  BENCH_SECONDS=S                   duration of a run without a number of I/Os (1)
  BENCH_BUDGET=S                    no further round that would end later than this
  "=NAME"                           selects the workload with exactly that name
"""

import contextlib
import json
import mmap
import os
import signal
import statistics
import subprocess
import sys
import time

RUBLK = "/mnt/share/rublk"
# In the order of a round, with the module and the name of its devices.
PEERS = {
    "loop": ("loop", "/dev/loop"),
    "rust_loop": ("rust_loop", "/dev/rloop"),
    "raw": (None, None),
    "rust_loop_1": ("rust_loop", "/dev/rloop"),
    "ublk": ("ublk_drv", "/dev/ublkb"),
}
if not os.path.exists(RUBLK):
    del PEERS["ublk"]
if not os.environ.get("BENCH_QUEUES"):
    del PEERS["rust_loop_1"]
if os.environ.get("BENCH_PEERS"):
    PEERS = {peer: PEERS[peer] for peer in os.environ["BENCH_PEERS"].split()}
SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))
# Of the ratios of a workload: the distance of the quartiles, as a part of the median.
MOST_SPREAD = 0.15
CGROUPS = "/sys/fs/cgroup"
# For jobs that start together, in seconds.
PATIENCE = 120
MIB = 1 << 20
FILE_SIZE = 192 * MIB


def run(*command, **options):
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="ascii") as out:
        out.write(text)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def drop_caches():
    os.sync()
    write("/proc/sys/vm/drop_caches", "3")


def allocated():
    """Memory allocated by kmalloc, in bytes."""
    with open("/proc/slabinfo", encoding="ascii") as lines:
        slabs = [line.split() for line in lines if line.startswith("kmalloc-")]
    return sum(int(active) * int(size) for _, active, _, size, *_ in slabs)


# ---- stores ----------------------------------------------------------------


class File:
    """A file on a filesystem, with all blocks written."""

    def __init__(self, directory, options):
        self.path = f"{directory}/image"
        os.makedirs(directory, exist_ok=True)
        run("mount", *options, directory)
        # Not zeroes, so that no layer can avoid storing them.
        with open(self.path, "wb") as out:
            piece = os.urandom(MIB)
            for _ in range(FILE_SIZE // MIB):
                out.write(piece)
        os.sync()


class Ext4(File):
    def __init__(self):
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "/dev/vdb")
        super().__init__("/bench/ext4", ["/dev/vdb"])


class Tmpfs(File):
    def __init__(self):
        super().__init__("/bench/tmpfs", ["-t", "tmpfs", "-o", "size=90%", "bench"])


class Disk:
    """The whole second disk."""

    path = "/dev/vdc"


class Null:
    """null_blk: a block device without hardware."""

    count = 0

    def __init__(self, **settings):
        name = f"bench{Null.count}"
        Null.count += 1
        directory = f"/sys/kernel/config/nullb/{name}"
        if not os.path.ismount("/sys/kernel/config"):
            run("modprobe", "configfs")
            run("mount", "-t", "configfs", "none", "/sys/kernel/config")
        run("modprobe", "null_blk", "nr_devices=0")
        os.mkdir(directory)
        settings = {"size": 256, "blocksize": 512, **settings}
        for key, value in settings.items():
            write(f"{directory}/{key}", str(value))
        write(f"{directory}/power", "1")
        self.path = f"/dev/{name}"
        run("udevadm", "settle")


STORES = {
    "ext4": Ext4,
    "tmpfs": Tmpfs,
    "disk": Disk,
    # Completes requests in the submitting task.
    "null": lambda: Null(memory_backed=1, irqmode=0),
    # The same without memory, with a hardware queue for each CPU.
    "null_queues": lambda: Null(
        irqmode=0, submit_queues=os.cpu_count(), hw_queue_depth=128, blocksize=4096, size=8192
    ),
    # Completes requests in an interrupt after 200 us.
    "null200": lambda: Null(irqmode=2, completion_nsec=200000, hw_queue_depth=128),
}


# ---- workloads -------------------------------------------------------------


class Fio:
    """One fio job. `direct` selects direct I/O to the backing file. Without a number of I/Os it
    runs for a fixed time."""

    unit = "I/O per second"
    # Whether devices can stay attached between the rounds.
    keep = True

    def __init__(self, store, direct, options, ios=None, cold=False):
        self.store, self.direct, self.cold = store, direct, cold
        self.options = options.split()
        ios = os.environ.get("BENCH_IOS", ios)
        if ios:
            self.options.append(f"--number_ios={ios}")
        else:
            self.options += ["--time_based", f"--runtime={int(SECONDS * 1000)}ms"]

    @property
    def queues(self):
        """The hardware queues that ublk gets, which has no default by the CPUs: one per job."""
        jobs = [o.partition("=")[2] for o in self.options if o.startswith("--numjobs=")]
        return min(int(jobs[0]) if jobs else 1, os.cpu_count())

    def threads(self):
        """Buffered reads of the store itself use one thread for each I/O in flight."""
        options, depth = [], 1
        for option in self.options:
            if option.startswith("--iodepth="):
                depth = int(option.partition("=")[2])
        for option in self.options:
            if option.startswith("--number_ios="):
                option = f"--number_ios={int(option.partition('=')[2]) // depth}"
            if not option.startswith("--iodepth="):
                options.append(option)
        part = FILE_SIZE // depth
        return options + [
            "--ioengine=psync",
            f"--numjobs={depth}",
            f"--size={part}",
            f"--offset_increment={part}",
        ]

    def command(self, peer, path):
        if peer == "raw" and not self.direct:
            options = ["--direct=0", *self.threads()]
        else:
            options = ["--direct=1", "--ioengine=libaio", f"--size={FILE_SIZE}", *self.options]
        return [
            "fio",
            "--name=bench",
            f"--filename={path}",
            "--thread",
            "--group_reporting",
            "--randrepeat=0",
            "--output-format=json",
            *options,
        ]

    @staticmethod
    def result(out):
        job = json.loads(out[out.index("{") :])["jobs"][0]
        if job["error"] != 0:
            sys.exit(f"fio: error {job['error']}")
        parts = [job[kind] for kind in ("read", "write") if job[kind]["total_ios"]]
        return {
            "value": sum(part["iops"] for part in parts),
            "p99_us": max(part["clat_ns"]["percentile"]["99.000000"] for part in parts) / 1000,
            # With --icount, a nanosecond is an instruction.
            "ns": max(part["runtime"] for part in parts)
            * 1_000_000
            / sum(part["total_ios"] for part in parts),
        }

    def measure(self, peer, path, store):
        if self.cold:
            drop_caches()
        return self.result(run(*self.command(peer, path)))


class Metadata:
    """Creating, syncing and removing small files, on ext4 on the device."""

    store, direct, unit, keep, queues = "disk", True, "files per second", False, 1
    FILES = 300

    def measure(self, peer, path, store):
        directory = "/bench/metadata"
        os.makedirs(directory, exist_ok=True)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
        run("mount", path, directory)
        drop_caches()
        begin = time.monotonic()
        for number in range(self.FILES):
            handle = os.open(f"{directory}/{number}", os.O_CREAT | os.O_WRONLY)
            os.write(handle, b"x" * 4096)
            os.fsync(handle)
            os.close(handle)
            if number % 2:
                os.unlink(f"{directory}/{number - 1}")
        os.sync()
        seconds = time.monotonic() - begin
        run("umount", directory)
        return {"value": self.FILES / seconds}


class Attach:
    """Attaching 256 devices to one file and detaching them, with or without udev."""

    store, direct, unit, keep, queues = "tmpfs", False, "devices per second", False, 1
    COUNT = 256
    # LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_ADD, LOOP_CTL_REMOVE
    SET_FD, CLR_FD, ADD, REMOVE = 0x4C00, 0x4C01, 0x4C80, 0x4C81

    def __init__(self, udev):
        self.udev = udev

    def measure(self, peer, path, store):
        if peer not in ("loop", "rust_loop"):
            return None
        from fcntl import ioctl

        prefix = path.rstrip("0123456789")
        control = os.open(prefix + "-control", os.O_RDWR)
        first = 1000
        paths = [f"{prefix}{number}" for number in range(first, first + self.COUNT)]
        file = os.open(store.path, os.O_RDWR)
        free = self.available()
        for number in range(first, first + self.COUNT):
            ioctl(control, self.ADD, number)
        run("udevadm", "settle")
        if not self.udev:
            # Stopping its queue instead would leave thousands of events for later.
            run("pkill", "-KILL", "-x", "systemd-udevd")
        devices = [os.open(path, os.O_RDWR) for path in paths]
        for device in devices:
            ioctl(device, self.SET_FD, file)
        used = free - self.available()
        for device in devices:
            ioctl(device, self.CLR_FD)
            os.close(device)
        if self.udev:
            run("udevadm", "settle")
        times = int(os.environ.get("BENCH_IOS", 8 * self.COUNT))
        turns = 1 if self.udev else max(1, times // self.COUNT)
        begin = time.monotonic()
        for _ in range(turns):
            devices = [os.open(path, os.O_RDWR) for path in paths]
            for device in devices:
                ioctl(device, self.SET_FD, file)
            for device in devices:
                ioctl(device, self.CLR_FD)
                os.close(device)
        if self.udev:
            run("udevadm", "settle")
        seconds = time.monotonic() - begin
        if not self.udev:
            run("/usr/lib/systemd/systemd-udevd", "--daemon")
            run("udevadm", "settle")
        for number in range(first, first + self.COUNT):
            while True:
                try:
                    ioctl(control, self.REMOVE, number)
                    break
                except BlockingIOError:
                    continue
        os.close(file)
        os.close(control)
        each = seconds / (turns * self.COUNT)
        result = {"value": 1 / each, "ns": each * 1e9}
        if not self.udev:
            result["kib_per_device"] = used / self.COUNT
        return result

    @staticmethod
    def available():
        drop_caches()
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1])
        return 0


class Cgroups(Fio):
    """Reads of one cgroup on a device on which others have just read."""

    def __init__(self, count, *job):
        super().__init__(*job)
        self.count = count

    def measure(self, peer, path, store):
        top = f"{CGROUPS}/bench"
        groups = [f"{top}/{number}" for number in range(self.count)]
        # Without this, each move to another cgroup waits for a grace period.
        run("mount", "-o", "remount,favordynmods", CGROUPS)
        os.mkdir(top)
        for directory in (CGROUPS, top):
            write(f"{directory}/cgroup.subtree_control", "+io")
        device = os.open(path, os.O_RDONLY | os.O_DIRECT)
        block = mmap.mmap(-1, 4096)
        for group in groups:
            os.mkdir(group)
        before = allocated()
        for group in groups:
            write(f"{group}/cgroup.procs", "0")
            os.preadv(device, [block], 0)
        used = allocated() - before
        os.close(device)
        result = super().measure(peer, path, store)
        # With fewer cgroups, other allocations dominate.
        if self.count >= 1000:
            result["bytes_per_cgroup"] = used / self.count
        write(f"{CGROUPS}/cgroup.procs", "0")
        for directory in (*groups, top):
            os.rmdir(directory)
        return result


class CgroupEach(Fio):
    """As many jobs as cgroups, each in a cgroup of its own, as a fio each.

    With many of them, the last starts seconds after the first. Therefore each is stopped as soon
    as it has read, until all have. What counts is what the device completes while all run.
    """

    def __init__(self, count, *job):
        super().__init__(*job)
        self.count = count
        self.options = [o for o in self.options if not o.startswith(("--number_ios", "--runtime"))]
        self.options += ["--time_based", f"--runtime={2 * PATIENCE}"]

    @property
    def queues(self):
        return min(self.count, os.cpu_count())

    @contextlib.contextmanager
    def running(self, peer, path):
        """All jobs run inside; yields the file with the statistics of the device."""
        groups = [f"{CGROUPS}/bench{number}" for number in range(self.count)]
        # Without this, each move to another cgroup waits for a grace period.
        run("mount", "-o", "remount,favordynmods", CGROUPS)
        write(f"{CGROUPS}/cgroup.subtree_control", "+io")
        number = os.stat(path).st_rdev
        device = f"{os.major(number)}:{os.minor(number)}"
        jobs = []
        for group in groups:
            os.makedirs(group, exist_ok=True)
        for group in groups:
            enter = f'echo 0 >"{group}/cgroup.procs" && exec "$@"'
            command = ["sh", "-c", enter, "sh", *self.command(peer, path)]
            jobs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        deadline = time.monotonic() + PATIENCE
        starting = list(zip(groups, jobs))
        while starting:
            if time.monotonic() > deadline:
                sys.exit(f"{starting[0][0]}: no I/O to {device} after {PATIENCE} s")
            time.sleep(0.02)
            for group, job in list(starting):
                if has_read(f"{group}/io.stat", device):
                    job.send_signal(signal.SIGSTOP)
                    starting.remove((group, job))
        for job in jobs:
            job.send_signal(signal.SIGCONT)
        yield f"/sys/dev/block/{device}/stat"
        for job in jobs:
            job.send_signal(signal.SIGINT)
        for job in jobs:
            self.result(job.communicate()[0])
        for group in groups:
            os.rmdir(group)

    def measure(self, peer, path, store):
        with self.running(peer, path) as stat:
            begin, reads = time.monotonic(), completed_reads(stat)
            time.sleep(2 * SECONDS)
            reads = completed_reads(stat) - reads
            value = reads / (time.monotonic() - begin)
        return {"value": value}


def has_read(path, device):
    """Whether a cgroup has read from a device, by its io.stat."""
    with open(path, encoding="ascii") as lines:
        return any(line.startswith(f"{device} ") and " rios=0 " not in line for line in lines)


def completed_reads(path):
    with open(path, encoding="ascii") as line:
        return int(line.read().split()[0])


class Beside(Fio):
    """The same beside a CPU-bound task."""

    def measure(self, peer, path, store):
        with subprocess.Popen([sys.executable, "-IS", "-c", "while True: pass"]) as other:
            try:
                return super().measure(peer, path, store)
            finally:
                other.kill()


RANDOM_READ, RANDOM_WRITE = "--rw=randread --bs=4k", "--rw=randwrite --bs=4k"

CGROUP_READS = {
    f"null_blk, direct, QD32, {count} cgroups": Cgroups(
        count, "null", True, f"{RANDOM_READ} --iodepth=32", 40000
    )
    for count in (1, 16, 256, 1000)
}

QUICK = {
    "cold random read, buffered, QD1": Fio(
        "ext4", False, f"{RANDOM_READ} --iodepth=1", 3000, cold=True
    ),
    "cold random read, buffered, QD16": Fio(
        "ext4", False, f"{RANDOM_READ} --iodepth=16", 8000, cold=True
    ),
    "random read, direct, QD1": Fio("ext4", True, f"{RANDOM_READ} --iodepth=1", 6000, cold=True),
    "random read, direct, QD16": Fio("ext4", True, f"{RANDOM_READ} --iodepth=16", 24000),
    "random write, direct, QD16": Fio("ext4", True, f"{RANDOM_WRITE} --iodepth=16", 24000),
    "null_blk, direct, QD32": Fio("null", True, f"{RANDOM_READ} --iodepth=32", 60000),
    "write and fdatasync, direct": Fio("ext4", True, f"{RANDOM_WRITE} --fdatasync=1", 1500),
    "O_DSYNC write, direct": Fio("ext4", True, f"{RANDOM_WRITE} --sync=dsync", 2000),
    "sequential read 128 KiB, buffered, QD4": Fio(
        "ext4", False, "--rw=read --bs=128k --iodepth=4", 1500, cold=True
    ),
    "sequential read 128 KiB, direct, QD4": Fio(
        "ext4", True, "--rw=read --bs=128k --iodepth=4", 1500, cold=True
    ),
    "ext4 on the device, small files": Metadata(),
}

FULL = {
    **QUICK,
    "random write, direct, QD1": Fio("ext4", True, f"{RANDOM_WRITE} --iodepth=1", 6000),
    "random 70 % read, direct, QD16": Fio(
        "ext4", True, "--rw=randrw --rwmixread=70 --bs=4k --iodepth=16", 24000
    ),
    "null_blk 200 us, direct, QD1": Fio("null200", True, f"{RANDOM_READ} --iodepth=1", 5000),
    "null_blk 200 us, direct, QD32": Fio("null200", True, f"{RANDOM_READ} --iodepth=32", 60000),
    "tmpfs read, buffered, QD16": Fio("tmpfs", False, f"{RANDOM_READ} --iodepth=16", 40000),
    "tmpfs write, buffered, QD16": Fio("tmpfs", False, f"{RANDOM_WRITE} --iodepth=16", 40000),
    "write and fdatasync, buffered": Fio(
        "ext4", False, f"{RANDOM_WRITE} --iodepth=1 --fdatasync=1", 1500
    ),
    "sequential read 1 MiB, buffered, QD4": Fio(
        "ext4", False, "--rw=read --bs=1M --iodepth=4", 180, cold=True
    ),
    "sequential read 1 MiB, direct, QD4": Fio(
        "ext4", True, "--rw=read --bs=1M --iodepth=4", 180, cold=True
    ),
    "sequential write 128 KiB, buffered, QD4": Fio(
        "ext4", False, "--rw=write --bs=128k --iodepth=4", 1500
    ),
    "sequential write 128 KiB, direct, QD4": Fio(
        "ext4", True, "--rw=write --bs=128k --iodepth=4", 1500
    ),
    "sequential write 1 MiB, buffered, QD4": Fio(
        "ext4", False, "--rw=write --bs=1M --iodepth=4", 180
    ),
    "sequential write 1 MiB, direct, QD4": Fio(
        "ext4", True, "--rw=write --bs=1M --iodepth=4", 180
    ),
    "attach and detach 256 devices": Attach(udev=False),
    "attach and detach 256 devices, until udev has seen it": Attach(udev=True),
    **CGROUP_READS,
}

# For a guest with four CPUs.
PARALLEL = {
    "null_blk, direct, 4 jobs, QD16": Fio(
        "null", True, f"{RANDOM_READ} --iodepth=16 --numjobs=4", 30000
    ),
}

# The workloads in which the number of CPUs matters, on which the manual compares CPUs.
PROCESSORS = {
    "direct write QD1, ext4 file": Fio("ext4", True, f"{RANDOM_WRITE} --iodepth=1"),
    "direct read QD1, ext4 file": Fio("ext4", True, f"{RANDOM_READ} --iodepth=1"),
    "cold buffered read QD1, ext4 file": Fio(
        "ext4", False, f"{RANDOM_READ} --iodepth=1", cold=True
    ),
    "O_DSYNC write QD1, ext4 file": Fio("ext4", True, f"{RANDOM_WRITE} --iodepth=1 --sync=dsync"),
    "direct read QD16, ext4 file": Fio("ext4", True, f"{RANDOM_READ} --iodepth=16"),
    "direct read, 4 jobs, QD16, ext4 file": Fio(
        "ext4", True, f"{RANDOM_READ} --iodepth=16 --numjobs=4"
    ),
    "cold buffered read QD16, ext4 file": Fio(
        "ext4", False, f"{RANDOM_READ} --iodepth=16", cold=True
    ),
    "null_blk QD1": Fio("null_queues", True, f"{RANDOM_READ} --iodepth=1"),
    "null_blk, 4 jobs, QD1": Fio("null_queues", True, f"{RANDOM_READ} --iodepth=1 --numjobs=4"),
    "null_blk, 2 jobs, QD16": Fio("null_queues", True, f"{RANDOM_READ} --iodepth=16 --numjobs=2"),
    "null_blk, 8 jobs, QD16": Fio("null_queues", True, f"{RANDOM_READ} --iodepth=16 --numjobs=8"),
    "null_blk, 8 jobs, QD16, a cgroup each": CgroupEach(
        8, "null_queues", True, f"{RANDOM_READ} --iodepth=16"
    ),
}

# `x` is the place in a plot of all workloads with the same `series`.
SCALING = {}
for count in (1, 2, 3, 4, 6, 8):
    job = Fio("null_queues", True, f"{RANDOM_READ} --iodepth=16 --numjobs={count}")
    job.series, job.x = "jobs", count
    SCALING[f"null_blk, QD16, {count} job{'s' if count > 1 else ''}"] = job
for count in (1, 2, 4, 8, 16):
    job = CgroupEach(count, "null_queues", True, f"{RANDOM_READ} --iodepth=16")
    job.series, job.x = "cgroups", count
    SCALING[f"null_blk, QD16, {count} cgroup{'s' if count > 1 else ''} with a job each"] = job

# The clock counts executed instructions: exact, as long as the CPU is never idle.
INSTRUCTIONS = {
    "null_blk, direct, QD32": Fio("null", True, f"{RANDOM_READ} --iodepth=32", 40000),
    "tmpfs read, buffered, QD16": Fio("tmpfs", False, f"{RANDOM_READ} --iodepth=16", 40000),
    "tmpfs write, buffered, QD16": Fio("tmpfs", False, f"{RANDOM_WRITE} --iodepth=16", 40000),
    # Includes the instructions of the other task.
    "null_blk, direct, QD32, on a busy processor": Beside(
        "null", True, f"{RANDOM_READ} --iodepth=32", 20000
    ),
    **CGROUP_READS,
    "attach and detach": Attach(udev=False),
}

SETS = {
    "quick": QUICK,
    "full": FULL,
    "parallel": PARALLEL,
    "processors": PROCESSORS,
    "scaling": SCALING,
    "instructions": INSTRUCTIONS,
}


# ---- devices ---------------------------------------------------------------


def load_rust_loop(*parameters):
    run("modprobe", "rust_loop", *os.environ.get("BENCH_PARAMETERS", "").split(), *parameters)


def load_modules():
    for peer, (module, _) in PEERS.items():
        if peer == "rust_loop":
            load_rust_loop()
        elif module and peer != "rust_loop_1":
            run("modprobe", module)
    run("udevadm", "settle")


def attach(peer, number, workload, store):
    device = f"{PEERS[peer][1]}{number}"
    if peer == "ublk":
        mode = [] if workload.direct else ["--buffered-io"]
        queues = ["-q", str(workload.queues), "-d", "128"]
        run(RUBLK, "add", "loop", "-n", str(number), *queues, "-f", store.path, *mode)
    else:
        run("losetup", f"--direct-io={'on' if workload.direct else 'off'}", device, store.path)
    run("udevadm", "settle")
    return device


def detach(peer, number):
    if peer == "ublk":
        run(RUBLK, "del", "-n", str(number))
    else:
        run("losetup", "-d", f"{PEERS[peer][1]}{number}")
    run("udevadm", "settle")


class Devices:
    """The attached devices. Those that are kept are shared by workloads with the same store and
    mode."""

    # The number of a device that is not kept.
    SPARE = 0

    def __init__(self, keep):
        self.keep = keep
        # {peer: {store, mode and queues: (number, device)}}
        self.attached = {peer: {} for peer in PEERS}

    def measure(self, workload, peer, store):
        if peer == "raw":
            return workload.measure(peer, store.path, store)
        if "rust_loop_1" in PEERS and PEERS[peer][0] == "rust_loop":
            # A parameter of a loaded module may be constant.
            run("modprobe", "-r", "rust_loop")
            load_rust_loop(*(["nr_hw_queues=1"] if peer == "rust_loop_1" else []))
        elif self.keep and workload.keep:
            return workload.measure(peer, self.device(workload, peer, store), store)
        device = attach(peer, self.SPARE, workload, store)
        try:
            return workload.measure(peer, device, store)
        finally:
            detach(peer, self.SPARE)

    def device(self, workload, peer, store):
        attached = self.attached[peer]
        kind = (workload.store, workload.direct, workload.queues if peer == "ublk" else 1)
        if kind not in attached:
            number = self.SPARE + 1 + len(attached)
            attached[kind] = (number, attach(peer, number, workload, store))
        return attached[kind][1]

    def detach_all(self):
        for peer, attached in self.attached.items():
            for number, _ in attached.values():
                detach(peer, number)


# ---- rounds ----------------------------------------------------------------


def spread(ratios):
    """The distance of the quartiles, as a part of the median."""
    if len(ratios) < 2:
        return 0
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return (high - low) / middle


class Row:
    """A workload and its results so far."""

    def __init__(self, name, workload):
        self.name, self.workload = name, workload
        self.rounds, self.ratios, self.longest = 0, [], 0

    def run_round(self, devices, store):
        begin, values = time.monotonic(), {}
        order = list(PEERS)
        if self.rounds % 2:
            order.reverse()
        for peer in order:
            result = devices.measure(self.workload, peer, store)
            if result is None:
                continue
            result.update(
                workload=self.name, unit=self.workload.unit, peer=peer, round=self.rounds
            )
            if hasattr(self.workload, "series"):
                result.update(series=self.workload.series, x=self.workload.x)
            print(json.dumps(result), flush=True)
            values[peer] = result["value"]
        if values.get("loop") and "rust_loop" in values:
            self.ratios.append(values["rust_loop"] / values["loop"])
        self.rounds += 1
        self.longest = max(self.longest, time.monotonic() - begin)

    def wants_more(self, rounds):
        if rounds == 1:
            return self.rounds < 1
        if self.rounds < rounds:
            return True
        return self.rounds < 3 * rounds and spread(self.ratios) > MOST_SPREAD


def main():
    which, rounds, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    rows = [
        Row(name, workload)
        for name, workload in SETS[which].items()
        if not names or any(part in name or part == f"={name}" for part in names)
    ]
    if not rows:
        sys.exit(f"measure: no workload of {which} is named like {' or '.join(names)}")
    begin = time.monotonic()
    budget = float(os.environ.get("BENCH_BUDGET", "inf"))
    load_modules()
    stores = {}
    # With a peer that reloads its module, all attach anew, so that none has an advantage.
    devices = Devices(keep=rounds > 1 and "rust_loop_1" not in PEERS)
    number = 0
    while todo := [row for row in rows if row.wants_more(rounds)]:
        for index, row in enumerate(todo):
            passed = time.monotonic() - begin
            if passed + row.longest > budget:
                say(f"the time is up after {int(passed)} s")
                devices.detach_all()
                return
            store = row.workload.store
            if store not in stores:
                stores[store] = STORES[store]()
            say(f"round {number + 1}, {index + 1} of {len(todo)}, {int(passed)} s: {row.name}")
            row.run_round(devices, stores[store])
        number += 1
    devices.detach_all()


if __name__ == "__main__":
    main()
