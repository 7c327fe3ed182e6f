#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 256M
# leaks: no
# debug: badinput_recursion stacks devices
#
# Backed by a disk, and loops on loops of either driver.

. "$(dirname "$0")/lib.sh"
. "$TESTS/deep.bash"

# pattern_survives TOP BOTTOM-FILE: written at the top, found at the bottom.
pattern_survives() {
	random_file "$WORK/data" 4M
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="$1" bs=64K oflag=direct conv=fsync status=none
	cmp -n 4194304 "$WORK/data" "$2"
	expect_equal "$(dd if="$1" bs=64K count=64 iflag=direct status=none | sha256sum)" \
		"$(checksum "$WORK/data")" "checksum"
	mkfs.ext4 -q "$1"
	mkdir -p "$WORK/mnt"
	mount "$1" "$WORK/mnt"
	cp "$WORK/data" "$WORK/mnt/data"
	umount "$WORK/mnt"
	mount "$1" "$WORK/mnt"
	cmp "$WORK/data" "$WORK/mnt/data" || { umount "$WORK/mnt"; fail "file differs"; }
	umount "$WORK/mnt"
}

on_disk() {
	ensure_driver
	attach "${DEV}0" /dev/vdb
	expect_equal "$(sectors "${DEV}0")" "$(sectors /dev/vdb)" "sectors"
	random_file "$WORK/data" 4M
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="${DEV}0" bs=64K oflag=direct conv=fsync status=none
	expect_equal "$(dd if="${DEV}0" bs=64K count=64 iflag=direct status=none | sha256sum)" \
		"$(checksum "$WORK/data")" "checksum through the loop"
	detach "${DEV}0"
	expect_equal "$(dd if=/dev/vdb bs=64K count=64 iflag=direct status=none | sha256sum)" \
		"$(checksum "$WORK/data")" "checksum of the disk"
}

# stack BOTTOM TOP [more]: each device on the one before it.
stack() {
	local below=$WORK/image dev
	ensure_driver
	[[ "$*" != */dev/loop* || $DRIVER == loop ]] || modprobe loop max_loop=4
	truncate -s 48M "$WORK/image"
	defer rm -f "$WORK/image"
	for dev in "$@"; do
		attach "$dev" "$below"
		below=$dev
	done
	pattern_survives "$below" "$WORK/image"
}

mixed() {
	[[ $DRIVER == rust_loop ]] || skip "there is only one driver to stack"
	need_module loop
	stack "$@"
}

offset_on_offset() {
	ensure_driver
	random_file "$WORK/image" 1M
	defer rm -f "$WORK/image"
	attach "${DEV}0" -o 4096 "$WORK/image"
	attach "${DEV}1" -o 8192 --sizelimit 65536 "${DEV}0"
	tail -c +12289 "$WORK/image" | head -c 65536 | cmp - "${DEV}1"
	# The lower one is in use by the upper one.
	expect_equal "$(sectors "${DEV}1")" 128 "sectors"
	detach "${DEV}1"
	detach "${DEV}0"
}

# Detaching the lower device under the upper one waits for the upper one.
lower_detached() {
	ensure_driver
	truncate -s 8M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	attach "${DEV}1" "${DEV}0"
	losetup -d "${DEV}0"
	udevadm settle
	is_bound "${DEV}0" || fail "the lower device went away"
	random_file "$WORK/data" 1M
	defer rm -f "$WORK/data"
	dd if="$WORK/data" of="${DEV}1" bs=64K oflag=direct conv=fsync status=none
	cmp -n 1048576 "$WORK/data" "$WORK/image"
	detach "${DEV}1"
	wait_until 10 is_unbound "${DEV}0" || fail "the lower device is still bound"
}

test_case "data are right on a disk" on_disk
test_case "data are right on a device of the same driver" on_stock stack "${DEV}0" "${DEV}1"
test_case "data are right on four levels" stack "${DEV}0" "${DEV}1" "${DEV}2" "${DEV}3"
test_case "$LEVELS devices on each other keep data, direct" deep
test_case "data are right on a device of the C driver" mixed /dev/loop0 "${DEV}0"
test_case "data are right on a device of the C driver on one of this driver" mixed "${DEV}0" /dev/loop0
test_case "offsets and limits of stacked devices add up" offset_on_offset
test_case "detach of the lower device waits for the upper one" lower_detached

run_cases
