#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# kernels: stock
# leaks: no
#
# The configuration of modprobe for the place of loop.ko: whatever becomes of rust_loop,
# there are loop devices.

. "$(dirname "$0")/lib.sh"

[[ $DRIVER == rust_loop ]] || skip_all "the configuration is for rust_loop"

# Both drivers are unloaded, and the configuration is in effect, in each test.
fresh() {
	! is_loaded || unload_driver
	[[ ! -d /sys/module/loop/holders ]] || rmmod loop
	mkdir -p /run/modprobe.d
	cp "$TESTS/../packaging/rust-loop-drop-in.conf" /run/modprobe.d/
	defer remove_configuration
}

remove_configuration() {
	rm -rf /run/modprobe.d
	modprobe -qr rust_loop
	modprobe -qr loop
}

works() {
	truncate -s 1M "$WORK/img"
	udevadm settle
	losetup -f "$WORK/img"
	losetup -D
}

is_drop_in() {
	[[ $(cat /sys/module/rust_loop/parameters/drop_in) == Y ]]
}

takes_the_place() {
	fresh
	modprobe loop max_loop=3
	is_drop_in || fail "rust_loop is loaded without drop_in"
	expect cat /sys/module/rust_loop/parameters/max_loop = 3
	[[ ! -d /sys/module/loop/holders ]] || fail "loop.ko is loaded, too"
	works
	udevadm settle
	wait_until 10 modprobe -r loop
	! is_loaded || fail "modprobe -r loop left rust_loop"
}

fails_to_load() {
	fresh
	echo "install rust_loop /bin/false" >/run/modprobe.d/faulty.conf
	modprobe loop
	[[ -d /sys/module/loop/holders ]] || fail "no loop.ko"
	works
	wait_until 10 modprobe -r loop
	[[ ! -d /sys/module/loop/holders ]] || fail "modprobe -r loop left loop.ko"
}

loaded_by_name() {
	fresh
	modprobe rust_loop
	modprobe loop
	[[ -d /sys/module/loop/holders ]] || fail "no loop.ko beside /dev/rloopN"
	works
	wait_until 10 modprobe -r loop
	is_loaded || fail "modprobe -r loop unloaded rust_loop"
}

test_case "modprobe loop loads rust_loop in the place of loop.ko, and -r unloads it" takes_the_place
test_case "if rust_loop cannot be loaded there is loop.ko" fails_to_load
test_case "if rust_loop is loaded for /dev/rloopN there is loop.ko" loaded_by_name
run_cases
