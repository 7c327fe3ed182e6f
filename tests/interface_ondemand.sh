#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: race_all opens devices that do not exist
#
# Opening a node of a device that does not exist makes the device, if the kernel
# was built for that (CONFIG_BLOCK_LEGACY_AUTOLOAD), which loop.ko in the same
# guest tells; max_loop is a limit for that if it was set.

. "$(dirname "$0")/lib.sh"
need_loopctl

# The node of a device that does not exist.
NODE=$WORK/node

remove_node() {
	rm -f "$NODE"
}

exists() {
	[[ -d /sys/block/${PREFIX}$1 ]]
}

# Whether the kernel makes devices on demand, as loop.ko has it: yes or no.
ask_loop() {
	modprobe -q loop || return 1
	mknod "$NODE" b 7 77
	AUTOLOAD=no
	if { exec 7<"$NODE"; } 2>/dev/null; then
		exec 7<&-
		AUTOLOAD=yes
	fi
	rm "$NODE"
	udevadm settle
	wait_until 10 rmmod loop 2>/dev/null
}

ask_loop || skip_all "no loop.ko to compare with"
echo "# devices are made on demand: $AUTOLOAD"

# make_node NUMBER [MINORS]: NODE, of the device with this number.
make_node() {
	MAJOR=$(awk -v name="$PREFIX" '$2 == name { major = $1 } END { print major }' /proc/devices)
	mknod "$NODE" b "$MAJOR" $(($1 * ${2:-1}))
	defer remove_node
}

# Loaded without parameters, as it may be already.
setup() {
	is_loaded || load_driver
	make_node 77
}

# reload NUMBER [parameters]: with a node of the device with this number.
reload() {
	reload_driver "${@:2}"
	make_node "$1"
}

# Opens the node; the error message is the shell's.
open_node() {
	{ exec 7<"$NODE"; } 2>"$WORK/error" || return 1
	exec 7<&-
}

remove() {
	udevadm settle
	expect loopctl control "$CTL" remove "$1" = 0
}

# opened NUMBER: the device is there exactly if the kernel makes some on demand.
opened() {
	if [[ $AUTOLOAD == yes ]]; then
		open_node || fail "not made: $(<"$WORK/error")"
		exists "$1" || fail "opened, but not in sysfs"
		remove "$1"
	else
		not_opened "$1"
	fi
}

not_opened() {
	! open_node || fail "opened"
	grep -q 'No such device or address' "$WORK/error" || fail "$(<"$WORK/error")"
	! exists "$1" || fail "not opened, but made"
}

# No limit by default.
made() {
	setup
	expect_equal "$(<"/sys/module/$DRIVER/parameters/max_loop")" 8 max_loop
	! exists 77 || fail "there already"
	opened 77
	# Once more, now that it has been removed.
	opened 77
}

# An opener of the node gets the device itself.
works() {
	[[ $AUTOLOAD == yes ]] || skip "this kernel makes no devices on demand"
	setup
	truncate -s 1M "$WORK/image"
	defer rm -f "$WORK/image"
	expect loopctl configure "$NODE" "$WORK/image" = ok
	exists 77 || fail "not in sysfs"
	expect_equal "$(<"/sys/block/${PREFIX}77/dev")" "$MAJOR:77" numbers
	wait_until 10 test -b "${DEV}77" || fail "no node by udev"
	expect_equal "$(sectors "${DEV}77")" 2048 sectors
	cmp "$WORK/image" "${DEV}77"
	expect loopctl control "$CTL" add 77 = EEXIST
	udevadm settle
	expect loopctl clr-fd "${DEV}77" = ok
	wait_until 10 is_unbound "${DEV}77"
	remove 77
}

# A limit for nodes, not for the control device.
limit() {
	reload 77 max_loop=2
	not_opened 77
	expect loopctl control "$CTL" add 77 = 77
	exists 77 || fail "not added"
	open_node || fail "added, but not opened: $(<"$WORK/error")"
	remove 77
	not_opened 77
	# The first number that is too large, and the last that is not.
	remove_node
	make_node 2
	not_opened 2
	remove_node
	make_node 1
	remove 1
	opened 1
}

# Nothing is made at load, and anything later.
zero() {
	reload 77 max_loop=0
	opened 77
}

# The number of a device is its minor number divided by what each has.
with_partitions() {
	reload 77 max_part=7 max_loop=0
	remove_node
	make_node 77 8
	opened 77
	remove_node
	# The node of a partition makes the device. There is no such partition.
	mknod "$NODE" b "$MAJOR" $((77 * 8 + 1))
	! open_node || fail "opened a partition that does not exist"
	if [[ $AUTOLOAD == yes ]]; then
		exists 77 || fail "the device of the partition was not made"
		remove 77
	fi
}

# Several at once want the same device: it is made once.
race() {
	[[ $AUTOLOAD == yes ]] || skip "this kernel makes no devices on demand"
	setup
	local i pids=()
	for ((i = 0; i < 8; i++)); do
		open_node &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "one of them was refused"
	done
	exists 77 || fail "not made"
	remove 77
}

# The node outlives the driver.
unloaded() {
	setup
	unload_driver
	# Major 7 asks for loop.ko, by its alias.
	[[ $DRIVER == loop ]] || not_opened 77
}

test_case "a node makes its device" made
test_case "a device that was made on demand works" works
test_case "a node opened by several at once makes its device once" race
test_case "a node makes no device without the driver" unloaded
test_case "max_loop=2 limits devices on demand, not those that are added" limit
test_case "max_loop=0 is no limit" zero
test_case "a node makes its device with max_part, too" with_partitions

run_cases
