#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random calls the same ioctls
#
# The stock losetup, on a device that is named.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	random_file "$WORK/image" 4M
	defer rm -f "$WORK/image"
}

attach_and_list() {
	setup
	attach "${DEV}0" "$WORK/image"
	expect_equal "$(losetup_column "${DEV}0" NAME)" "${DEV}0" NAME
	expect_equal "$(losetup_column "${DEV}0" BACK-FILE)" "$WORK/image" BACK-FILE
	expect_equal "$(losetup_column "${DEV}0" OFFSET)" 0 OFFSET
	expect_equal "$(losetup_column "${DEV}0" SIZELIMIT)" 0 SIZELIMIT
	expect_equal "$(losetup_column "${DEV}0" RO)" 0 RO
	expect_equal "$(losetup_column "${DEV}0" AUTOCLEAR)" 0 AUTOCLEAR
	expect_equal "$(losetup_column "${DEV}0" PARTSCAN)" 0 PARTSCAN
	expect_equal "$(losetup_column "${DEV}0" DIO)" 0 DIO
	expect_equal "$(losetup_column "${DEV}0" LOG-SEC)" 512 LOG-SEC
	expect_equal "$(losetup_column "${DEV}0" BACK-INO)" "$(stat -c %i "$WORK/image")" BACK-INO
	losetup "${DEV}0" | grep -qF "($WORK/image)" || fail "losetup DEV: $(losetup "${DEV}0")"
	losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
	expect_failure losetup "${DEV}0" 2>/dev/null
}

options() {
	setup
	attach "${DEV}0" -r -o 4096 --sizelimit 1M -b 4096 "$WORK/image"
	expect_equal "$(losetup_column "${DEV}0" OFFSET)" 4096 OFFSET
	expect_equal "$(losetup_column "${DEV}0" SIZELIMIT)" 1048576 SIZELIMIT
	expect_equal "$(losetup_column "${DEV}0" RO)" 1 RO
	expect_equal "$(losetup_column "${DEV}0" LOG-SEC)" 4096 LOG-SEC
	expect blockdev --getsize64 "${DEV}0" = 1048576
	expect blockdev --getro "${DEV}0" = 1
	detach "${DEV}0"
}

block_sizes() {
	local size
	setup
	for size in 512 1024 2048 4096; do
		attach "${DEV}0" -b "$size" "$WORK/image"
		expect blockdev --getss "${DEV}0" = "$size"
		expect blockdev --getpbsz "${DEV}0" = "$size"
		expect_equal "$(losetup_column "${DEV}0" LOG-SEC)" "$size" LOG-SEC
		cmp "$WORK/image" "${DEV}0"
		detach "${DEV}0"
	done
	expect blockdev --getss "${DEV}0" = 512
	expect_failure losetup -b 1234 "${DEV}0" "$WORK/image" 2>/dev/null
}

attach_twice() {
	setup
	attach "${DEV}0" "$WORK/image"
	expect_failure losetup "${DEV}0" "$WORK/image" 2>"$WORK/error"
	grep -q 'busy' "$WORK/error" || fail "$(<"$WORK/error")"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

missing_file() {
	setup
	expect_failure losetup "${DEV}0" "$WORK/nothing" 2>/dev/null
	is_unbound "${DEV}0"
}

partscan_flag() {
	setup
	attach "${DEV}0" -P "$WORK/image"
	expect_equal "$(sysfs_attr "${DEV}0" loop/partscan)" 1 loop/partscan
	detach "${DEV}0"
}

# Takes the file's new size where the driver knows LOOP_SET_CAPACITY.
grown() {
	setup
	local answer
	attach "${DEV}0" "$WORK/image"
	truncate -s 8M "$WORK/image"
	answer=$(loopctl set-capacity "${DEV}0")
	case $answer in
	ok) expect_equal "$(sectors "${DEV}0")" 16384 sectors ;;
	EINVAL | ENOTTY) skip "the driver has no LOOP_SET_CAPACITY yet" ;;
	*) fail "LOOP_SET_CAPACITY: $answer" ;;
	esac
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

test_case "losetup attaches, lists and detaches" attach_and_list
test_case "losetup -r -o --sizelimit -b are set" options
test_case "losetup -b sets the block size" block_sizes
test_case "a second attach fails and leaves the first" attach_twice
test_case "a missing file is not attached" missing_file
test_case "losetup -P sets partscan" partscan_flag
test_case "LOOP_SET_CAPACITY takes the size of a grown file" grown

run_cases
