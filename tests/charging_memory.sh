#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
# debug: mechanism_cgroup_removed and mechanism_workers charge the same ways
#
# Memory that the driver uses on behalf of a cgroup is charged to it.

. "$(dirname "$0")/lib.sh"

setup() {
	ensure_driver
}

# In bytes.
file_memory() {
	awk '$1 == "file" { print $2 }' "$CGROUP/$1/memory.stat"
}

tmpfs() {
	mkdir -p "$WORK/fs"
	mount -t tmpfs none "$WORK/fs"
	defer umount "$WORK/fs"
}

# Files of a tmpfs are memory and nothing else, so there is nothing to write back.
limit() {
	setup
	tmpfs
	truncate -s 256M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	make_cgroup alpha
	echo 64M >"$CGROUP/alpha/memory.max"
	[[ ! -e $CGROUP/alpha/memory.swap.max ]] || echo 0 >"$CGROUP/alpha/memory.swap.max"
	in_cgroup alpha dd if=/dev/zero of="${DEV}0" bs=1M count=256 oflag=direct status=none || true
	(($(memory_event alpha oom_kill) > 0)) || fail "no task was killed"
	# The device is as good as before, for others.
	random_file "$WORK/data" 1M
	dd if="$WORK/data" of="${DEV}0" bs=1M seek=200 oflag=direct status=none
	cmp "$WORK/data" <(dd if="${DEV}0" bs=1M skip=200 count=1 iflag=direct status=none)
	detach "${DEV}0"
}

no_limit() {
	setup
	tmpfs
	truncate -s 64M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	make_cgroup alpha
	make_cgroup beta
	echo 16M >"$CGROUP/alpha/memory.max"
	in_cgroup beta dd if=/dev/zero of="${DEV}0" bs=1M count=64 oflag=direct status=none
	expect_equal "$(memory_event alpha oom_kill)" 0 "killed in the cgroup that did nothing"
	(($(file_memory beta) >= 60 << 20)) || fail "not charged: $(file_memory beta) bytes"
	(($(file_memory alpha) < 1 << 20)) || fail "charged to another: $(file_memory alpha) bytes"
	detach "${DEV}0"
}

page_cache() {
	setup
	mount_disk
	random_file "$WORK/fs/image" 40M
	# An open file keeps the read-ahead that its disk has then.
	blockdev --setra 128 /dev/vdb
	attach "${DEV}0" "$WORK/fs/image"
	udevadm settle
	sync
	echo 3 >/proc/sys/vm/drop_caches
	make_cgroup alpha
	make_cgroup beta
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=64K count=256 iflag=direct status=none
	(($(file_memory alpha) >= 15 << 20)) || fail "not charged: $(file_memory alpha) bytes"
	(($(file_memory alpha) <= 24 << 20)) || fail "charged twice: $(file_memory alpha) bytes"
	# A cached page belongs to the cgroup that read it first.
	in_cgroup beta dd if="${DEV}0" of=/dev/null bs=64K count=128 iflag=direct status=none
	(($(file_memory beta) < 1 << 20)) || fail "charged again: $(file_memory beta) bytes"
	detach "${DEV}0"
}

# memory.high makes this cgroup wait for reclaim, and no other.
high() {
	setup
	mount_disk
	random_file "$WORK/fs/image" 32M
	attach "${DEV}0" "$WORK/fs/image"
	udevadm settle
	sync
	echo 3 >/proc/sys/vm/drop_caches
	make_cgroup alpha
	echo 4M >"$CGROUP/alpha/memory.high"
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=64K iflag=direct status=none
	(($(memory_event alpha high) > 0)) || fail "memory.high had no effect"
	(($(file_memory alpha) <= 12 << 20)) || fail "$(file_memory alpha) bytes, limit 4 MiB"
	detach "${DEV}0"
}

# Also when the I/O fails, no reference stays behind.
references() {
	setup
	local before
	before=$(dying_cgroups nr_dying_descendants)
	tmpfs
	truncate -s 4M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	truncate -s 1M "$WORK/fs/image"
	make_cgroup alpha
	in_cgroup alpha dd if=/dev/zero of="${DEV}0" bs=64K count=4 oflag=direct status=none
	expect_failure in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=64K skip=32 count=1 iflag=direct \
		status=none 2>/dev/null
	in_cgroup alpha blkdiscard -f -o 0 -l 65536 "${DEV}0"
	detach "${DEV}0"
	umount "$WORK/fs"
	defer mount -t tmpfs none "$WORK/fs"
	wait_until 10 rmdir "$CGROUP/alpha" 2>/dev/null
	wait_until 15 dying_cgroups_at_most nr_dying_descendants "$before" || fail "$(dying_cgroups nr_dying_descendants) dying cgroups, $before before"
}

test_case "memory.max holds through the device" limit
test_case "the writing cgroup is charged, and no other" no_limit
test_case "page cache of the backing file is charged to the cgroup that reads it first" page_cache
test_case "memory.high holds through the device" high
test_case "no reference to a cgroup stays behind, also after errors" references

run_cases
