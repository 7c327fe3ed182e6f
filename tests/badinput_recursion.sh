#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
# leaks: no
#
# A device is never below itself.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer rm -f "$WORK/image"
}

itself() {
	setup
	expect loopctl configure "${DEV}0" "${DEV}0" = EBADF
	expect loopctl set-fd "${DEV}0" "${DEV}0" = EBADF
	expect loopctl status "${DEV}0" = ENXIO
	attach "${DEV}0" "$WORK/image"
	expect loopctl configure "${DEV}0" "${DEV}0" = EBUSY
	detach "${DEV}0"
}

by_another_node() {
	setup
	local numbers
	read -ra numbers <<<"$(stat -c '0x%t 0x%T' "${DEV}0")"
	mknod "$WORK/node" b "$((numbers[0]))" "$((numbers[1]))"
	defer rm "$WORK/node"
	expect loopctl configure "${DEV}0" "$WORK/node" = EBADF
}

unbound_device() {
	setup
	expect loopctl configure "${DEV}0" "${DEV}1" = EINVAL
	expect loopctl status "${DEV}0" = ENXIO
}

# Each on the other: neither is bound yet, so neither can be the first.
mutual() {
	setup
	attach "${DEV}0" "$WORK/image"
	attach "${DEV}1" "${DEV}0"
	attach "${DEV}2" "${DEV}1"
	expect loopctl configure "${DEV}0" "${DEV}1" = EBUSY
	expect loopctl configure "${DEV}0" "${DEV}2" = EBUSY
	expect loopctl configure "${DEV}1" "${DEV}2" = EBUSY
	dd if="${DEV}2" of=/dev/null bs=64K iflag=direct status=none
	detach "${DEV}2"
	detach "${DEV}1"
	detach "${DEV}0"
}

# A device on its way out is nothing to build on.
detaching_device() {
	setup
	attach "${DEV}0" "$WORK/image"
	udevadm settle
	"$PROGRAMS/attach_to_detaching.py" "${DEV}0" "${DEV}1"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound"
}

# The walk down a stack while its devices come and go.
race() {
	setup
	"$PROGRAMS/stack_race.py" "$DEV" "$WORK/image" "$([[ $KERNEL == stock ]] && echo 5 || echo 12)"
	udevadm settle
	local i
	for i in 2 1 0; do
		wait_until 10 is_unbound "${DEV}$i" || fail "${DEV}$i still bound"
	done
	attach "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

test_case "a device is not attached to itself" itself
test_case "a device is not attached to itself by another node" by_another_node
test_case "a device is not attached to an unbound one" unbound_device
test_case "a device is not attached to one that is being detached" detaching_device
test_case "a device is not attached to one above it" mutual
test_case "stacks come and go at once without a deadlock" race

run_cases
