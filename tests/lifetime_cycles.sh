#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
#
# Load, attach, I/O, detach, unload: many times, and nothing is left.

. "$(dirname "$0")/lib.sh"

cycles=40
[[ -z ${WHOLE:-} ]] || cycles=100
[[ $KERNEL == stock ]] || cycles=20

load_cycles() {
	truncate -s 1M "$WORK/image"
	# No program is started in between, so that a hundred are affordable on
	# the debug kernel too.
	"$PROGRAMS/cycles.py" "$(modinfo -n "$DRIVER")" "${DEV}0" "$WORK/image" "$cycles"
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

# The image is not in use once it is detached.
image_released() {
	ensure_driver
	mkdir "$WORK/fs"
	mount -t tmpfs none "$WORK/fs"
	truncate -s 1M "$WORK/fs/image"
	losetup "${DEV}0" "$WORK/fs/image"
	expect_failure umount "$WORK/fs" 2>/dev/null
	detach "${DEV}0"
	umount "$WORK/fs"
}

unload_without_use() {
	unload_driver
	load_driver max_loop=4
	unload_driver
}

test_case "$cycles times load, attach, I/O, detach, unload work" load_cycles
test_case "many attaches and detaches work without unloading" attach_cycles
test_case "detach releases the backing filesystem" image_released
test_case "an unused module unloads" unload_without_use

run_cases
