#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
# timeout: 200 600
#
# Load, attach, I/O, detach, unload: a hundred times, and nothing is left.

. "$(dirname "$0")/lib.sh"

cycles=100

one_cycle() {
	modprobe "$DRIVER" max_loop=1
	wait_until 10 test -b "${DEV}0"
	losetup "${DEV}0" "$WORK/image"
	dd if="$WORK/data" of="${DEV}0" bs=64K oflag=direct status=none
	dd if="${DEV}0" bs=64K count=4 iflag=direct status=none | cmp - "$WORK/data"
	losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
	wait_until 10 rmmod "$DRIVER" 2>/dev/null
}

load_cycles() {
	local i
	truncate -s 1M "$WORK/image"
	random_file "$WORK/data" 256K
	for ((i = 0; i < cycles; i++)); do
		note "cycle $i"
		one_cycle
	done
	[[ ! -e $CTL ]] || wait_until 10 test ! -e "$CTL" || fail "$CTL still there"
}

attach_cycles() {
	local i
	ensure_driver
	for ((i = 0; i < 25; i++)); do
		losetup "${DEV}0" "$WORK/image" || fail "attach $i"
		dd if="${DEV}0" of=/dev/null bs=4K count=1 iflag=direct status=none
		losetup -d "${DEV}0"
		wait_until 10 is_unbound "${DEV}0" || fail "detach $i"
	done
}

# The image is not held by anybody once it is detached.
image_released() {
	ensure_driver
	mkdir "$WORK/fs"
	mount -t tmpfs none "$WORK/fs"
	truncate -s 1M "$WORK/fs/image"
	losetup "${DEV}0" "$WORK/fs/image"
	must_fail umount "$WORK/fs" 2>/dev/null
	detach "${DEV}0"
	umount "$WORK/fs"
}

unload_without_use() {
	unload_driver
	load_driver max_loop=4
	unload_driver
}

it "$cycles times load, attach, I/O, detach, unload" load_cycles
it "attach, I/O, detach without unloading" attach_cycles
it "the backing filesystem is released" image_released
it "unload without any use" unload_without_use

run
