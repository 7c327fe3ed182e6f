#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random reads the same attributes
#
# sysfs attributes, queue limits and uevents.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer rm -f "$WORK/image"
}

attributes() {
	setup
	local dir=/sys/block/${PREFIX}0/loop name
	[[ ! -e $dir ]] || fail "loop directory of an unbound device"
	attach "${DEV}0" -o 512 --sizelimit 65536 "$WORK/image"
	expect_equal "$(find "$dir" -type f -printf '%f\n' | sort | tr '\n' ' ')" "autoclear backing_file dio offset partscan sizelimit "
	for name in autoclear backing_file dio offset partscan sizelimit; do
		expect_equal "$(stat -c %a "$dir/$name")" 444 "mode of $name"
	done
	expect_equal "$(<"$dir/backing_file")" "$WORK/image" backing_file
	expect_equal "$(<"$dir/offset")" 512 offset
	expect_equal "$(<"$dir/sizelimit")" 65536 sizelimit
	expect_equal "$(<"$dir/autoclear")" 0 autoclear
	expect_equal "$(<"$dir/partscan")" 0 partscan
	expect_equal "$(<"$dir/dio")" 0 dio
	detach "${DEV}0"
	[[ ! -e $dir ]] || fail "loop directory after detach"
}

names() {
	setup
	local odd
	odd="$WORK/a name; with (odd) characters $(printf '%0100d' 0)"
	mv "$WORK/image" "$odd"
	defer rm -f "'$odd'" "'$odd.new'"
	attach "${DEV}0" "$odd"
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" "$odd" backing_file
	mv "$odd" "$odd.new"
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" "$odd.new" "backing_file after rename"
	rm "$odd.new"
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" "$odd.new (deleted)" "backing_file after unlink"
	dd if="${DEV}0" of=/dev/null bs=64K iflag=direct status=none
	detach "${DEV}0"
}

limits() {
	setup
	local queue=/sys/block/${PREFIX}0/queue
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(<"$queue/logical_block_size")" 512 logical_block_size
	expect_equal "$(<"$queue/physical_block_size")" 512 physical_block_size
	expect_equal "$(<"$queue/max_hw_sectors_kb")" 1280 max_hw_sectors_kb
	expect_equal "$(<"$queue/rotational")" 0 rotational
	expect_equal "$(<"$queue/write_cache")" "write back" write_cache
	grep -q '\[none\]' "$queue/scheduler" || fail "scheduler: $(<"$queue/scheduler")"
	(($(<"$queue/discard_max_bytes") > 0)) || fail "no discard on tmpfs"
	(($(<"$queue/write_zeroes_max_bytes") > 0)) || fail "no write zeroes on tmpfs"
	expect_equal "$(<"$queue/discard_granularity")" "$(stat -f -c %s "$WORK/image")" discard_granularity
	detach "${DEV}0"
	attach "${DEV}0" -r "$WORK/image"
	expect_equal "$(<"$queue/write_cache")" "write through" "write_cache, read-only"
	detach "${DEV}0"
}

events() {
	setup
	uevents_begin
	local before
	before=$(uevent_count "${DEV}0")
	attach "${DEV}0" "$WORK/image"
	wait_until 5 uevents_exceed "${DEV}0" "$before" || fail "no event for attach"
	udevadm settle
	before=$(uevent_count "${DEV}0")
	expect loopctl set-status "${DEV}0" --sizelimit 65536 = ok
	wait_until 5 uevents_exceed "${DEV}0" "$before" || fail "no event for a new size"
	udevadm settle
	before=$(uevent_count "${DEV}0")
	detach "${DEV}0"
	wait_until 5 uevents_exceed "${DEV}0" "$before" || fail "no event for detach"
	uevents_work "${DEV}0"
}

# Probing finds the filesystem on the device, and nothing after detach.
probed() {
	setup
	mkfs.ext4 -q -O ^has_journal -L sysfstest "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	expect blkid -p -o value -s LABEL "${DEV}0" = sysfstest
	detach "${DEV}0"
	expect_failure blkid -p "${DEV}0"
}

io_counts() {
	setup
	local before after
	attach "${DEV}0" "$WORK/image"
	udevadm settle
	before=$(awk '{ print $5 }' "/sys/block/${PREFIX}0/stat")
	dd if=/dev/zero of="${DEV}0" bs=4k count=16 oflag=direct status=none
	after=$(awk '{ print $5 }' "/sys/block/${PREFIX}0/stat")
	expect_equal $((after - before)) 16 "writes counted"
	detach "${DEV}0"
}

test_case "the loop directory has its attributes, while attached" attributes
test_case "backing_file follows renames and shows removal" names
test_case "queue limits are those of the file" limits
test_case "attach, a new size and detach send uevents" events
test_case "blkid finds the filesystem, and nothing after detach" probed
test_case "I/O statistics count each write" io_counts

run_cases
