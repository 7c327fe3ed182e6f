#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the same workloads in a guest on a store and on loop devices on it: those of
loop.ko, of rust_loop and, if rublk is available, of ublk_drv.

usage: measure.py SET ROUNDS [NAME...]

SET is quick, full, parallel or instructions; with NAMEs, only those workloads run. The
peers take turns within each round, so that other load on the host affects all of them.
Prints one JSON object per run, and the progress on standard error.

A cold read is a fixed number of I/Os that never read a block twice. With a fixed time,
a reader would fill the cache for itself.

BENCH_PEERS="loop rust_loop" measures only some peers. BENCH_IOS=N does N I/Os instead of
the number given here. "=NAME" selects the workload with exactly that name.
"""

import json
import mmap
import os
import subprocess
import sys
import time

RUBLK = "/mnt/share/rublk"
PEERS = {
    "raw": None,
    "loop": "/dev/loop0",
    "ublk": "/dev/ublkb0",
    "rust_loop": "/dev/rloop0",
}
if not os.path.exists(RUBLK):
    del PEERS["ublk"]
if "BENCH_PEERS" in os.environ:
    PEERS = {peer: PEERS[peer] for peer in os.environ["BENCH_PEERS"].split()}
CGROUPS = "/sys/fs/cgroup"
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
    # Completes requests in an interrupt after 200 us.
    "null200": lambda: Null(irqmode=2, completion_nsec=200000, hw_queue_depth=128),
}


# ---- workloads -------------------------------------------------------------


class Fio:
    """One fio job. `direct` selects direct I/O to the backing file."""

    unit = "I/O per second"

    def __init__(self, store, direct, options, ios=None, cold=False):
        self.store, self.direct, self.cold = store, direct, cold
        self.options = options.split()
        ios = os.environ.get("BENCH_IOS", ios)
        if ios:
            self.options.append(f"--number_ios={ios}")

    def threads(self):
        """Buffered reads of the store itself use one thread for each I/O in flight."""
        options, depth = [], 1
        for option in self.options:
            if option.startswith("--iodepth="):
                depth = int(option.partition("=")[2])
            elif option.startswith("--number_ios="):
                ios = int(option.partition("=")[2])
            else:
                options.append(option)
        part = FILE_SIZE // depth
        return options + [
            "--ioengine=psync",
            f"--numjobs={depth}",
            f"--number_ios={ios // depth}",
            f"--size={part}",
            f"--offset_increment={part}",
        ]

    def measure(self, peer, path, store):
        if peer == "raw" and not self.direct:
            options = ["--direct=0", *self.threads()]
        else:
            options = ["--direct=1", "--ioengine=libaio", f"--size={FILE_SIZE}", *self.options]
        if self.cold:
            drop_caches()
        out = run(
            "fio",
            "--name=bench",
            f"--filename={path}",
            "--thread",
            "--group_reporting",
            "--randrepeat=0",
            "--output-format=json",
            *options,
        )
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


class Metadata:
    """Creating, syncing and removing small files, on ext4 on the device."""

    store, direct, unit = "disk", True, "files per second"
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

    store, direct, unit = "tmpfs", False, "devices per second"
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

SETS = {"quick": QUICK, "full": FULL, "parallel": PARALLEL, "instructions": INSTRUCTIONS}


def attach(peer, device, workload, store):
    if peer == "ublk":
        mode = [] if workload.direct else ["--buffered-io"]
        run(RUBLK, "add", "loop", "-n", "0", "-q", "1", "-d", "128", "-f", store.path, *mode)
    elif device:
        run("losetup", f"--direct-io={'on' if workload.direct else 'off'}", device, store.path)
    run("udevadm", "settle")


def detach(peer, device):
    if peer == "ublk":
        run(RUBLK, "del", "-n", "0")
    elif device:
        run("losetup", "-d", device)
    run("udevadm", "settle")


def one_run(workload, peer, store):
    device = PEERS[peer]
    attach(peer, device, workload, store)
    try:
        return workload.measure(peer, device or store.path, store)
    finally:
        detach(peer, device)


def main():
    which, rounds, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    workloads = {
        name: workload
        for name, workload in SETS[which].items()
        if not names or any(part in name or part == f"={name}" for part in names)
    }
    if not workloads:
        sys.exit(f"measure: no workload of {which} is named like {' or '.join(names)}")
    for peer in PEERS:
        if peer != "raw":
            run("modprobe", "ublk_drv" if peer == "ublk" else peer)
    run("udevadm", "settle")
    stores = {}
    begin = time.monotonic()
    for index, (name, workload) in enumerate(workloads.items()):
        if workload.store not in stores:
            stores[workload.store] = STORES[workload.store]()
        say(f"{index + 1} of {len(workloads)}, {int(time.monotonic() - begin)} s: {name}")
        for number in range(rounds):
            for peer in PEERS:
                result = one_run(workload, peer, stores[workload.store])
                if result is None:
                    continue
                result.update(workload=name, unit=workload.unit, peer=peer, round=number)
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
