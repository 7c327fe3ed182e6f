#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
#
# Devices are added and removed through the control device.

. "$(dirname "$0")/lib.sh"
need_loopctl

control() {
	loopctl control "$CTL" "$@"
}

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer rm -f "$WORK/image"
}

add_remove() {
	setup
	expect control add 30 = 30
	wait_until 10 test -b "${DEV}30"
	expect control add 30 = EEXIST
	attach "${DEV}30" "$WORK/image"
	dd if="${DEV}30" of=/dev/null bs=4k count=4 iflag=direct status=none
	expect control remove 30 = EBUSY
	detach "${DEV}30"
	udevadm settle
	expect control remove 30 = 0
	wait_until 10 is_gone "${DEV}30"
	expect control remove 30 = ENODEV
	[[ ! -d /sys/block/${PREFIX}30 ]] || fail "still in sysfs"
	[[ $DRIVER == loop || ! -d $DEBUGFS/rust_loop/${PREFIX}30 ]] || fail "still in debugfs"
}

beyond_max_loop() {
	setup
	expect control add 1000 = 1000
	wait_until 10 test -b "${DEV}1000"
	udevadm settle
	expect control remove 1000 = 0
}

open_handles() {
	setup
	expect control add 31 = 31
	wait_until 10 test -b "${DEV}31"
	exec 7<"${DEV}31"
	expect control remove 31 = EBUSY
	exec 7<&-
	udevadm settle
	expect control remove 31 = 0
}

get_free() {
	setup
	local free i
	free=$(control get-free)
	expect_equal "$free" 0 "first free device"
	attach "${DEV}0" "$WORK/image"
	expect control get-free = 1
	for ((i = 1; i < 8; i++)); do
		attach "${DEV}$i" "$WORK/image"
	done
	# All in use: a new one is made.
	free=$(control get-free)
	((free >= 8)) || fail "get-free gave $free"
	wait_until 10 test -b "${DEV}$free"
	expect control get-free = "$free"
	udevadm settle
	expect control remove "$free" = 0
}

add_any() {
	setup
	local first second
	first=$(control add -1)
	second=$(control add -1)
	((first >= 0 && second >= 0 && first != second)) || fail "got $first and $second"
	udevadm settle
	expect control remove "$first" = 0
	expect control remove "$second" = 0
}

bad_requests() {
	setup
	expect control remove -1 = EINVAL
	expect control remove 12345 = ENODEV
	expect control 0x4C7F = ENOSYS
	expect control 0x4C83 = ENOSYS
	expect control 0 = ENOSYS
}

# Adders, removers, openers and attachers of the same few devices at once.
race() {
	setup
	"$PROGRAMS/add_remove_race.py" "$DEV" "$CTL" "$WORK/image" \
		"$([[ $KERNEL == stock ]] && echo 6 || echo 12)"
	local i
	udevadm settle
	for i in 40 41 42 43; do
		[[ ! -d /sys/block/${PREFIX}$i ]] || wait_until 10 removed "$i" ||
			fail "device $i cannot be removed"
	done
}

removed() {
	[[ $(control remove "$1") == 0 ]]
}

test_case "an added device works and can be removed" add_remove
test_case "numbers beyond max_loop can be added" beyond_max_loop
test_case "an open device is not removed" open_handles
test_case "LOOP_CTL_GET_FREE gives the first free device, or a new one" get_free
test_case "LOOP_CTL_ADD of -1 chooses a number" add_any
test_case "bad requests to the control device are refused" bad_requests
test_case "add, remove, open and attach at once leave nothing behind" race

run_cases
