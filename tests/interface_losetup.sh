#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# The stock losetup, on a device that is named.

. "$(dirname "$0")/lib.sh"

setup() {
	ensure_driver
	random_file "$WORK/image" 4M
	defer 'rm -f "$WORK/image"'
}

# column NAME of `losetup -l DEVICE`
column() {
	losetup -l -n --raw -O "$1" "${DEV}0"
}

attach_and_list() {
	setup
	attach "${DEV}0" "$WORK/image"
	same "$(column NAME)" "${DEV}0" NAME
	same "$(column BACK-FILE)" "$WORK/image" BACK-FILE
	same "$(column OFFSET)" 0 OFFSET
	same "$(column SIZELIMIT)" 0 SIZELIMIT
	same "$(column RO)" 0 RO
	same "$(column AUTOCLEAR)" 0 AUTOCLEAR
	same "$(column PARTSCAN)" 0 PARTSCAN
	same "$(column DIO)" 0 DIO
	same "$(column LOG-SEC)" 512 LOG-SEC
	same "$(column BACK-INO)" "$(stat -c %i "$WORK/image")" BACK-INO
	losetup "${DEV}0" | grep -qF "($WORK/image)" || fail "losetup DEV: $(losetup "${DEV}0")"
	losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
	must_fail losetup "${DEV}0" 2>/dev/null
}

options() {
	setup
	attach "${DEV}0" -r -o 4096 --sizelimit 1M -b 4096 "$WORK/image"
	same "$(column OFFSET)" 4096 OFFSET
	same "$(column SIZELIMIT)" 1048576 SIZELIMIT
	same "$(column RO)" 1 RO
	same "$(column LOG-SEC)" 4096 LOG-SEC
	expect 1048576 blockdev --getsize64 "${DEV}0"
	expect 1 blockdev --getro "${DEV}0"
	detach "${DEV}0"
}

block_sizes() {
	local size
	setup
	for size in 512 1024 2048 4096; do
		attach "${DEV}0" -b "$size" "$WORK/image"
		expect "$size" blockdev --getss "${DEV}0"
		expect "$size" blockdev --getpbsz "${DEV}0"
		same "$(column LOG-SEC)" "$size" LOG-SEC
		cmp "$WORK/image" "${DEV}0"
		detach "${DEV}0"
	done
	expect 512 blockdev --getss "${DEV}0"
	must_fail losetup -b 1234 "${DEV}0" "$WORK/image" 2>/dev/null
}

attach_twice() {
	setup
	attach "${DEV}0" "$WORK/image"
	must_fail losetup "${DEV}0" "$WORK/image" 2>"$WORK/error"
	grep -q 'busy' "$WORK/error" || fail "$(<"$WORK/error")"
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

missing_file() {
	setup
	must_fail losetup "${DEV}0" "$WORK/nothing" 2>/dev/null
	is_unbound "${DEV}0"
}

partscan_flag() {
	setup
	attach "${DEV}0" -P "$WORK/image"
	same "$(sysfs_attr "${DEV}0" loop/partscan)" 1 loop/partscan
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
	ok) same "$(sectors "${DEV}0")" 16384 sectors ;;
	EINVAL | ENOTTY) skip "the driver has no LOOP_SET_CAPACITY yet" ;;
	*) fail "LOOP_SET_CAPACITY: $answer" ;;
	esac
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

it "attach, list, detach" attach_and_list
it "-r -o --sizelimit -b" options
it "block sizes" block_sizes
it "attach twice" attach_twice
it "missing file" missing_file
it "-P" partscan_flag
it "grown file" grown

run
