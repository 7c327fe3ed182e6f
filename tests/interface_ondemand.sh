#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# Opening a node of a device that does not exist makes the device, if the kernel
# was built for that (CONFIG_BLOCK_LEGACY_AUTOLOAD), which loop.ko in the same
# guest tells; max_loop is a limit for that if somebody has set it.

. "$(dirname "$0")/lib.sh"

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
note "# devices are made on demand: $AUTOLOAD"

# reload [parameters]: and make a node of device 77. MAJOR is the driver's.
reload() {
	local numbers shift=${SHIFT:-0}
	! is_loaded || unload_driver
	load_driver "$@"
	numbers=$(awk -v name="$PREFIX" '$2 == name { print $1 }' /proc/devices)
	MAJOR=$(tail -n 1 <<<"$numbers")
	mknod "$NODE" b "$MAJOR" "$((77 << shift))"
	defer remove_node
}

# Opens the node; who can't is told so by the shell.
open_node() {
	{ exec 7<"$NODE"; } 2>"$WORK/error" || return 1
	exec 7<&-
}

remove() {
	udevadm settle
	expect 0 loopctl control "$CTL" remove "$1"
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

made() {
	reload
	! exists 77 || fail "there already"
	opened 77
	# Once more, now that it has been removed.
	opened 77
}

# What opens the node gets the device itself.
works() {
	[[ $AUTOLOAD == yes ]] || skip "this kernel makes no devices on demand"
	reload
	truncate -s 1M "$WORK/image"
	defer 'rm -f "$WORK/image"'
	expect ok loopctl configure "$NODE" "$WORK/image"
	exists 77 || fail "not in sysfs"
	same "$(<"/sys/block/${PREFIX}77/dev")" "$MAJOR:77" numbers
	wait_until 10 test -b "${DEV}77" || fail "no node by udev"
	same "$(sectors "${DEV}77")" 2048 sectors
	cmp "$WORK/image" "${DEV}77"
	expect EEXIST loopctl control "$CTL" add 77
	udevadm settle
	expect ok loopctl clr-fd "${DEV}77"
	wait_until 10 is_unbound "${DEV}77"
	remove 77
}

# The default of max_loop is no limit.
no_limit() {
	reload
	same "$(<"/sys/module/$DRIVER/parameters/max_loop")" 8 max_loop
	opened 77
}

limits() {
	reload max_loop="$1"
	if [[ $2 == yes ]]; then
		opened 77
	else
		not_opened 77
		# Who asks the control device may have it.
		expect 77 loopctl control "$CTL" add 77
		exists 77 || fail "not added"
		open_node || fail "added, but not opened: $(<"$WORK/error")"
		remove 77
	fi
}

# The number of a device is its minor number divided by what each has.
with_partitions() {
	local SHIFT=3
	reload max_part=7
	opened 77
	rm "$NODE"
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
	reload
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
	reload
	unload_driver
	# Major 7 asks for loop.ko, by its alias.
	[[ $DRIVER == loop ]] || not_opened 77
}

it "a node makes its device" made
it "the device works" works
it "no limit by default" no_limit
it "max_loop=4 is a limit" limits 4 no
it "max_loop=77 is a limit" limits 77 no
it "max_loop=78 is one that is not reached" limits 78 yes
it "max_loop=0 is none" limits 0 yes
it "with max_part" with_partitions
it "opened by several at once" race
it "without the driver" unloaded

run
