#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
# leaks: no
#
# The module stays while anything of it is in use.

. "$(dirname "$0")/lib.sh"
need_loopctl

refs() {
	cat "/sys/module/$DRIVER/refcnt"
}

refs_are() {
	[[ $(refs) == "$1" ]]
}

# udev's own short looks aside, so many references are held.
held() {
	udevadm settle
	wait_until 10 refs_are "$1" || fail "module references: $(refs), expected $1"
	expect_failure rmmod "$DRIVER" 2>"$WORK/rmmod"
	grep -q 'in use' "$WORK/rmmod" || fail "$(<"$WORK/rmmod")"
	is_loaded
}

free() {
	udevadm settle
	wait_until 10 refs_are 0 || fail "module references: $(refs), expected 0"
}

setup() {
	ensure_driver
	free
	truncate -s 8M "$WORK/image"
	defer rm -f "$WORK/image"
}

while_bound() {
	setup
	attach "${DEV}0" "$WORK/image"
	held 1
	dd if="${DEV}0" of=/dev/null bs=4k count=1 iflag=direct status=none
	detach "${DEV}0"
	free
}

while_open() {
	setup
	exec 7<"${DEV}0"
	held 1
	exec 7<&-
	free
}

while_control_open() {
	setup
	exec 7<>"$CTL"
	held 1
	exec 7<&-
	free
}

while_mounted() {
	setup
	mkdir -p "$WORK/mnt"
	attach "${DEV}0" "$WORK/image"
	mkfs.ext4 -q "${DEV}0"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	udevadm settle
	(($(refs) >= 2)) || fail "a mount and a binding hold $(refs) references"
	expect_failure rmmod "$DRIVER" 2>/dev/null
	echo content >"$WORK/mnt/file"
	sync "$WORK/mnt/file"
	expect_equal "$(<"$WORK/mnt/file")" content
	umount "$WORK/mnt"
	detach "${DEV}0"
	free
}

after_failed_attach() {
	setup
	expect loopctl configure "${DEV}0" /tmp --file-mode ro = EINVAL
	expect loopctl configure "${DEV}0" closed = EBADF
	expect loopctl configure "${DEV}0" "$WORK/image" --flags 0x8000 = EINVAL
	expect loopctl configure "${DEV}0" "$WORK/image" --block-size 1234 = EINVAL
	free
}

added_devices() {
	setup
	loopctl control "$CTL" add 77
	udevadm settle
	exec 7<"${DEV}77"
	held 1
	exec 7<&-
	free
}

test_case "an attached device holds the module" while_bound
test_case "an open device holds the module" while_open
test_case "an open control device holds the module" while_control_open
test_case "a mounted device holds the module" while_mounted
test_case "failed attaches do not hold the module" after_failed_attach
test_case "a device that was added later holds the module while open" added_devices

run_cases
