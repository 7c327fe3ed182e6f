#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: badinput_recursion stacks devices
#
# Beside loop.ko: devices of either driver on those of the other. Each is opaque to the
# other driver, as all block devices are, and nothing is left behind.

. "$(dirname "$0")/lib.sh"
need_loopctl

[[ $DRIVER == rust_loop ]] || skip_all "there is only one driver to stack"
modprobe -q loop max_loop=4 || skip_all "this kernel has no loop.ko"
udevadm settle

PARTSCAN=8
random_file "$WORK/data" 1M
truncate -s 4M "$WORK/image"

setup() {
	ensure_driver
}

# put DEVICE FILE [options]: one level more.
put() {
	defer detach_by_ioctl_quietly "$1"
	expect loopctl configure "$@" = ok
}

# clear_all DEVICE...: from the top down.
clear_all() {
	local dev
	# udev looks into what is new.
	udevadm settle
	for dev; do
		detach_by_ioctl "$dev"
	done
}

# data_through TOP... BOTTOM: written at the top, found below.
data_through() {
	local top=$1 below
	dd if="$WORK/data" of="$top" bs=256K oflag=direct conv=fsync status=none
	shift
	for below; do
		cmp -n 1048576 "$WORK/data" <(dd if="$below" bs=256K iflag=direct status=none) ||
			fail "data differ in $below"
	done
	cmp -n 1048576 "$WORK/data" "$WORK/image"
	expect_equal "$(device_checksum "$top")" "$(checksum "$WORK/image")" "checksum of the top"
}

# on BOTTOM... TOP
on() {
	setup
	local dev below=$WORK/image down=()
	for dev; do
		put "$dev" "$below"
		expect_equal "$(sectors "$dev")" 8192 "sectors of $dev"
		expect_equal "$(sysfs_attr "$dev" loop/backing_file)" "$below" "backing file of $dev"
		below=$dev
		down=("$dev" "${down[@]}")
	done
	data_through "${down[@]}"
	clear_all "${down[@]}"
}

read_only() {
	setup
	put "$1" "$WORK/image" --flags 1
	put "$2" "$1" --file-mode ro
	expect_equal "$(sysfs_attr "$2" ro)" 1 ro
	expect_failure dd if=/dev/zero of="$2" bs=4k count=1 oflag=direct status=none 2>/dev/null
	detach_by_ioctl "$2"
	# A block device that is read-only can be opened for writing all the same, so
	# it is the write that fails.
	put "$2" "$1"
	expect_equal "$(sysfs_attr "$2" ro)" 0 ro
	expect_failure dd if=/dev/zero of="$2" bs=4k count=1 oflag=direct status=none 2>/dev/null
	expect_equal "$(device_checksum "$2")" "$(checksum "$WORK/image")" checksum
	clear_all "$2" "$1"
	# Only the upper one.
	put "$1" "$WORK/image"
	put "$2" "$1" --flags 1
	expect_equal "$(sysfs_attr "$2" ro)" 1 ro
	expect_equal "$(sysfs_attr "$1" ro)" 0 ro
	expect_equal "$(device_checksum "$2")" "$(checksum "$WORK/image")" checksum
	clear_all "$2" "$1"
}

# A device of the C driver without a backing file is a disk without a size, as one of ours is
# to the C driver.
unbound() {
	setup
	put "$1" "$2"
	expect_equal "$(sectors "$1")" 0 "sectors of $1"
	detach_by_ioctl "$1"
}

# opaque LOOP_SET_FD|LOOP_CHANGE_FD: a device of the C driver is not asked. The address space of the
# caller has no room for an answer.
opaque() {
	setup
	put /dev/loop0 "$WORK/image"
	[[ $1 != LOOP_CHANGE_FD ]] || put "${DEV}0" "$WORK/image" --flags 1
	"$PROGRAMS/attach_without_memory.py" "$1" "${DEV}0" /dev/loop0
	defer detach_by_ioctl_quietly "${DEV}0"
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" /dev/loop0 backing_file
	clear_all "${DEV}0" /dev/loop0
}

# No device of this driver gets below itself, even with other devices between.
ring_by_change() {
	setup
	put "${DEV}0" "$WORK/image" --flags 1
	put "${DEV}1" "${DEV}0" --file-mode ro
	put /dev/loop0 "${DEV}1" --file-mode ro
	expect loopctl change-fd "${DEV}0" "${DEV}1" --file-mode ro = EBADF
	expect loopctl change-fd "${DEV}0" "${DEV}0" --file-mode ro = EBADF
	expect_equal "$(sysfs_attr "${DEV}0" loop/backing_file)" "$WORK/image" backing_file
	expect_equal "$(device_checksum /dev/loop0)" "$(checksum "$WORK/image")" checksum
	clear_all /dev/loop0 "${DEV}1" "${DEV}0"
}

# on_partition BOTTOM TOP
on_partition() {
	setup
	truncate -s 4M "$WORK/disk"
	defer rm -f "$WORK/disk"
	sfdisk -q "$WORK/disk" <<<"start=2048, size=4096, type=83"
	# udev looks for partitions itself when the device has been open for writing,
	# and meanwhile there are none. It leaves a locked device alone.
	exec 8<"$1"
	flock 8
	put "$1" "$WORK/disk" --flags "$PARTSCAN"
	wait_until 10 test -b "$1p1" || fail "no partition"
	put "$2" "$1p1"
	exec 8<&-
	expect_equal "$(sectors "$2")" 4096 sectors
	dd if="$WORK/data" of="$2" bs=256K oflag=direct conv=fsync status=none
	cmp -n 1048576 -i 0:1048576 "$WORK/data" "$WORK/disk"
	# The device of the partition goes only after what is on it.
	expect loopctl clr-fd "$1" = ok
	udevadm settle
	is_bound "$1" || fail "gone under a device that is on it"
	dd if="$2" of=/dev/null bs=256K iflag=direct status=none
	detach_by_ioctl "$2"
	wait_until 10 is_unbound "$1" || fail "$1 still bound"
}

# A device below itself by its partition.
partition_ring() {
	setup
	truncate -s 4M "$WORK/disk"
	defer rm -f "$WORK/disk"
	sfdisk -q "$WORK/disk" <<<"start=2048, size=4096, type=83"
	put "${DEV}0" "$WORK/disk" --flags $((PARTSCAN | 1))
	wait_until 10 test -b "${DEV}0p1" || fail "no partition"
	udevadm settle
	expect loopctl change-fd "${DEV}0" "${DEV}0p1" --file-mode ro = EBADF
	put "${DEV}1" "${DEV}0p1" --file-mode ro
	expect loopctl change-fd "${DEV}0" "${DEV}1" --file-mode ro = EBADF
	clear_all "${DEV}1" "${DEV}0"
}

# The module of the driver below is in use as long as the device is.
pinned() {
	setup
	put /dev/loop0 "$WORK/image"
	put "${DEV}0" /dev/loop0
	udevadm settle
	expect_failure rmmod loop 2>/dev/null
	expect_failure rmmod rust_loop 2>/dev/null
	clear_all "${DEV}0" /dev/loop0
	put "${DEV}0" "$WORK/image"
	put /dev/loop0 "${DEV}0"
	udevadm settle
	expect_failure rmmod loop 2>/dev/null
	expect_failure rmmod rust_loop 2>/dev/null
	clear_all /dev/loop0 "${DEV}0"
}

unload() {
	udevadm settle
	wait_until 10 rmmod loop 2>/dev/null || fail "loop.ko does not unload"
	unload_driver
}

test_case "data are right, rloop on loop" on /dev/loop0 "${DEV}0"
test_case "data are right, loop on rloop" on "${DEV}0" /dev/loop0
test_case "data are right, both drivers by turns" on /dev/loop0 "${DEV}0" /dev/loop1 "${DEV}1"
test_case "a read-only loop refuses the writes of rloop" read_only /dev/loop0 "${DEV}0"
test_case "a read-only rloop refuses the writes of loop" read_only "${DEV}0" /dev/loop0
test_case "an unbound device of the other driver is a disk without a size" unbound "${DEV}0" /dev/loop0
test_case "an unbound device of this driver is one to the other driver" unbound /dev/loop0 "${DEV}0"
test_case "LOOP_SET_FD asks no device of the other driver" opaque LOOP_SET_FD
test_case "LOOP_CHANGE_FD asks no device of the other driver" opaque LOOP_CHANGE_FD
test_case "no device of this driver gets below itself by LOOP_CHANGE_FD" ring_by_change
test_case "data are right, rloop on a partition of loop" on_partition /dev/loop0 "${DEV}0"
test_case "data are right, loop on a partition of rloop" on_partition "${DEV}0" /dev/loop0
test_case "no device of this driver gets below itself by a partition" partition_ring
test_case "a module is in use while the other has a device on its own" pinned
test_case "both modules unload" unload

run_cases
