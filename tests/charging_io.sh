#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 256M
# leaks: no
# debug: mechanism_cgroup_removed and mechanism_workers charge the same ways
#
# I/O that the driver does on behalf of a cgroup counts as that cgroup's on the
# disk below, and its limits there hold.

. "$(dirname "$0")/lib.sh"

SIZE=$((96 << 20))
# Whether the device uses direct I/O.
MODE=off

# setup [SECTORS]: a device over a file on the disk, with nothing of it in memory.
# Read-ahead, of SECTORS at a time, counts, too, but was not asked for.
setup() {
	ensure_driver
	mount_disk
	if [[ ! -e $WORK/fs/image ]]; then
		head -c "$SIZE" /dev/urandom >"$WORK/fs/image"
		mount_disk_again
	fi
	blockdev --setra "${1:-0}" /dev/vdb
	attach "${DEV}0" --direct-io="$MODE" "$WORK/fs/image"
	udevadm settle
	echo 3 >/proc/sys/vm/drop_caches
	DISK=$(<"/sys/block/$(kernel_name /dev/vdb)/dev")
}

# io_stat CGROUP KEY, of the disk below.
io_stat() {
	awk -v disk="$DISK" -v key="$2" '
		$1 == disk {
			for (i = 2; i <= NF; i++) {
				split($i, part, "=")
				if (part[1] == key)
					value = part[2]
			}
		}
		END { print value + 0 }' "$CGROUP/$1/io.stat"
}

# reader CGROUP OFFSET-MIB MIB [fio options]
reader() {
	local cgroup=$1 offset=$2 size=$3
	shift 3
	in_cgroup "$cgroup" fio --name=r --filename="${DEV}0" --readonly --rw=read --bs=64k \
		--direct=1 --offset="${offset}M" --size="${size}M" --output="$WORK/fio" "$@"
}

# writer CGROUP OFFSET-MIB MIB [fio options]
writer() {
	local cgroup=$1 offset=$2 size=$3
	shift 3
	in_cgroup "$cgroup" fio --name=w --filename="${DEV}0" --rw=write --bs=64k \
		--direct=1 --offset="${offset}M" --size="${size}M" --output="$WORK/fio" "$@"
}

reads() {
	MODE=${1:-off}
	setup
	make_cgroup alpha
	make_cgroup beta
	reader alpha 0 24 --ioengine=psync
	expect_near "$(io_stat alpha rbytes)" $((24 << 20)) 5 "read by alpha"
	expect_equal "$(io_stat beta rbytes)" 0 "read by beta"
	reader beta 32 16 --ioengine=psync
	expect_near "$(io_stat beta rbytes)" $((16 << 20)) 5 "read by beta"
	expect_near "$(io_stat alpha rbytes)" $((24 << 20)) 5 "read by alpha, after beta"
	detach "${DEV}0"
}

at_once() {
	setup
	make_cgroup alpha
	make_cgroup beta
	reader alpha 0 24 --ioengine=libaio --iodepth=8 --output="$WORK/fio.alpha" &
	local alpha=$!
	reader beta 32 24 --ioengine=libaio --iodepth=8
	wait "$alpha"
	expect_near "$(io_stat alpha rbytes)" $((24 << 20)) 5 "read by alpha"
	expect_near "$(io_stat beta rbytes)" $((24 << 20)) 5 "read by beta"
	detach "${DEV}0"
}

engines() {
	setup
	make_cgroup alpha
	reader alpha 0 16 --ioengine=io_uring --iodepth=16
	expect_near "$(io_stat alpha rbytes)" $((16 << 20)) 5 "by io_uring"
	make_cgroup beta
	reader beta 16 16 --ioengine=io_uring --iodepth=16 --force_async=1
	expect_near "$(io_stat beta rbytes)" $((16 << 20)) 5 "by threads of io_uring"
	make_cgroup gamma
	reader gamma 32 8 --ioengine=psync --thread --numjobs=3 --offset_increment=8M
	expect_near "$(io_stat gamma rbytes)" $((24 << 20)) 5 "by threads"
	detach "${DEV}0"
}

# The writer to the file is known only if its page cache has no part in it.
writes() {
	MODE=on
	setup
	make_cgroup alpha
	make_cgroup beta
	writer alpha 0 24 --ioengine=libaio --iodepth=8
	expect_near "$(io_stat alpha wbytes)" $((24 << 20)) 5 "written by alpha"
	expect_equal "$(io_stat beta wbytes)" 0 "written by beta"
	writer beta 32 16 --ioengine=io_uring --iodepth=16
	expect_near "$(io_stat beta wbytes)" $((16 << 20)) 5 "written by beta"
	expect_near "$(io_stat alpha wbytes)" $((24 << 20)) 5 "written by alpha, after beta"
	detach "${DEV}0"
}

# ext4 on the device, which is direct, at $WORK/inner.
filesystem_on_device() {
	MODE=on
	setup
	mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "${DEV}0"
	mkdir -p "$WORK/inner"
	mount "${DEV}0" "$WORK/inner"
	defer unmount_quietly "$WORK/inner"
}

# Write-back in a filesystem on the device counts as the I/O of the cgroup that made
# the page dirty.
write_back() {
	filesystem_on_device
	make_cgroup alpha
	make_cgroup beta
	in_cgroup alpha dd if=/dev/zero of="$WORK/inner/a" bs=1M count=24 status=none
	sync -f "$WORK/inner"
	expect_near "$(io_stat alpha wbytes)" $((24 << 20)) 5 "written back for alpha"
	expect_equal "$(io_stat beta wbytes)" 0 "written back for beta"
	umount "$WORK/inner"
	detach "${DEV}0"
}

# Dirty pages of a removed cgroup are no way around the limits of its ancestors.
removed() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver charges it to the root"
	filesystem_on_device
	make_cgroup alpha
	echo "+io +memory" >"$CGROUP/alpha/cgroup.subtree_control"
	mkdir "$CGROUP/alpha/child"
	defer remove_cgroup alpha/child
	# The device knows it from then on.
	in_cgroup alpha/child dd if="${DEV}0" of=/dev/null bs=4k count=1 iflag=direct status=none
	in_cgroup alpha/child dd if=/dev/zero of="$WORK/inner/a" bs=1M count=24 status=none
	wait_until 10 rmdir "$CGROUP/alpha/child"
	sync -f "$WORK/inner"
	expect_near "$(io_stat alpha wbytes)" $((24 << 20)) 5 "written back for the cgroup above"
	umount "$WORK/inner"
	detach "${DEV}0"
}

# The time that fio needed for the I/O of the last reader, in ms.
took() {
	sed -n 's/.*run=\([0-9]*\)-[0-9]*msec$/\1/p' "$WORK/fio"
}

# Setting io.max on a disk allocates memory under a lock under which its queue is
# frozen elsewhere (blkg_conf_prep), so now and then lockdep warns of blk-cgroup,
# with any disk and without any loop device.
need_limits() {
	[[ $KERNEL == stock ]] || skip "lockdep warns of the lock order in blkg_conf_prep()"
}

limit_bytes() {
	need_limits
	setup 128
	make_cgroup alpha
	make_cgroup beta
	echo "$DISK rbps=2097152" >"$CGROUP/alpha/io.max"
	reader alpha 0 12 --ioengine=psync
	# 2 MiB/s: the first slice of time is free, and a busy guest is late.
	(($(took) >= 5400 && $(took) <= 7200)) || fail "12 MiB at 2 MiB/s took $(took) ms"
	reader beta 16 12 --ioengine=psync
	(($(took) <= 3000)) || fail "without a limit 12 MiB took $(took) ms"
	detach "${DEV}0"
}

limit_written() {
	need_limits
	MODE=on
	setup
	make_cgroup alpha
	echo "$DISK wbps=2097152" >"$CGROUP/alpha/io.max"
	writer alpha 0 12 --ioengine=psync
	(($(took) >= 5400 && $(took) <= 7200)) || fail "12 MiB at 2 MiB/s took $(took) ms"
	detach "${DEV}0"
}

limit_operations() {
	need_limits
	# One operation for each of ours.
	setup 128
	make_cgroup alpha
	echo "$DISK riops=40" >"$CGROUP/alpha/io.max"
	reader alpha 0 16 --ioengine=psync
	(($(took) >= 5760 && $(took) <= 7680)) || fail "256 reads at 40/s took $(took) ms"
	detach "${DEV}0"
}

# One that has used up its share does not hold up another.
beside_throttled() {
	need_limits
	MODE=$1
	setup
	make_cgroup alpha
	make_cgroup beta
	local alone alpha
	reader beta 40 16 --ioengine=psync
	alone=$(took)
	echo "$DISK rbps=262144" >"$CGROUP/alpha/io.max"
	reader alpha 0 4 --ioengine=libaio --iodepth=8 --output="$WORK/fio.alpha" &
	alpha=$!
	wait_until 10 has_inflight "${DEV}0" 4 || fail "alpha does not wait"
	reader beta 16 16 --ioengine=psync
	kill -0 "$alpha" || fail "alpha was not throttled"
	# At alpha's pace it would be a minute.
	(($(took) <= 2 * alone + 2000)) ||
		fail "16 MiB beside a throttled cgroup took $(took) ms, alone $alone ms"
	wait "$alpha"
	detach "${DEV}0"
}

test_case "reads of a cgroup count as its own, buffered" reads
test_case "reads of a cgroup count as its own, direct" on_stock reads on
test_case "writes of a cgroup count as its own, direct" writes
test_case "the reads of two cgroups at once count as the own of each" when_whole at_once
test_case "reads by io_uring and by threads count as the cgroup's own" engines
test_case "a limit on bytes holds" limit_bytes
test_case "a limit on bytes written holds, direct" when_whole limit_written
test_case "a limit on operations holds" limit_operations
test_case "a throttled cgroup does not hold up another, buffered" beside_throttled off
test_case "a throttled cgroup does not hold up another, direct" when_whole beside_throttled on
# The last, since it leaves holes in the file, and reading those is no I/O.
test_case "write-back counts as the I/O of the cgroup that made the page dirty, direct" write_back
test_case "write-back for a removed cgroup counts as the I/O of its parent" removed

run_cases
