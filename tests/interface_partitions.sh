#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: race_all adds and removes the same partitions
#
# Partitions: when they are looked for, who can add and remove them, and what
# minor numbers they have.

. "$(dirname "$0")/lib.sh"
need_loopctl

PARAMETERS=/sys/module/$DRIVER/parameters
PARTSCAN=8
DISK=$WORK/disk

truncate -s 4M "$DISK"
sfdisk -q "$DISK" <<-'TABLE'
	start=64, size=1024, type=83
	start=2048, size=4096, type=83
TABLE
random_file "$WORK/content" 64K
dd if="$WORK/content" of="$DISK" bs=512 seek=2048 conv=notrunc status=none

setup() {
	if ! is_loaded || [[ $(<"$PARAMETERS/max_part") != 0 ]]; then
		reload_driver max_loop=4
	fi
	DISK_DIR=/sys/block/${PREFIX}0
}

# configure [loopctl options]: attach the disk without starting a program. udev
# looks for partitions itself on a disk that was open for writing, if
# it knows its name, and meanwhile there are none; so it is opened for reading.
configure() {
	defer unbind_quietly
	expect loopctl configure "${DEV}0" "$DISK" --dev-mode ro "$@" = ok
}

unbind() {
	expect loopctl clr-fd "${DEV}0" --dev-mode ro = ok
	wait_until 10 is_unbound "${DEV}0" || fail "still bound"
}

unbind_quietly() {
	is_unbound "${DEV}0" || {
		loopctl clr-fd "${DEV}0" --dev-mode ro
		wait_until 10 is_unbound "${DEV}0"
	}
}

# The numbers of the partitions of rloop0, as the kernel has them.
partitions() {
	local dir number list=
	for dir in "$DISK_DIR/${PREFIX}0p"*; do
		# A partition may be gone by now.
		! read -r number 2>/dev/null <"$dir/partition" || list+="$number "
	done
	echo "$list"
}

# udev makes and removes nodes.
node_exists() {
	[[ -b $1 ]]
}

# partition_events ACTION: how often it was heard of partition 1.
partition_events() {
	local action path count=0
	while read -r _ action path _; do
		[[ $action != "$1" || $path != */${PREFIX}0p1 ]] || count=$((count + 1))
	done <"$WORK/uevents"
	echo "$count"
}

events_of() {
	(($(partition_events "$1") >= $2))
}

at_attach() {
	setup
	# This one is written to; udev leaves a locked device alone.
	exec 8<"${DEV}0"
	flock 8
	configure --flags "$PARTSCAN" --dev-mode rw
	expect_equal "$(partitions)" "1 2 " partitions
	expect_equal "$(<"$DISK_DIR/${PREFIX}0p2/start")" 2048 start
	expect_equal "$(<"$DISK_DIR/${PREFIX}0p2/size")" 4096 size
	wait_until 10 node_exists "${DEV}0p2" || fail "no node"
	cmp -n 65536 "$WORK/content" "${DEV}0p2"
	random_file "$WORK/more" 64K
	dd if="$WORK/more" of="${DEV}0p2" oflag=direct bs=64K status=none
	cmp -n 65536 -i 0:1048576 "$WORK/more" "$DISK"
	dd if="$WORK/content" of="${DEV}0p2" oflag=direct bs=64K status=none
	exec 8<&-
	udevadm settle
	unbind
	expect_equal "$(partitions)" "" "partitions after detach"
	wait_until 10 is_gone "${DEV}0p1" || fail "node left behind"
	wait_until 10 is_gone "${DEV}0p2" || fail "node left behind"
}

not_asked_for() {
	setup
	configure
	udevadm settle
	expect_equal "$(partitions)" "" partitions
	# Nor by an open, nor on request.
	expect loopctl rescan "${DEV}0" --dev-mode ro = EINVAL
	exec 7<"${DEV}0"
	exec 7<&-
	expect_equal "$(partitions)" "" partitions
	unbind
}

on_request() {
	setup
	configure
	expect_equal "$(partitions)" "" partitions
	expect loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN" = ok
	expect_equal "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	expect_equal "$(partitions)" "1 2 " partitions
	# It stays on, and asking again finds nothing new.
	expect loopctl set-status "${DEV}0" --dev-mode ro = ok
	expect_equal "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	expect loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN" = ok
	expect_equal "$(partitions)" "1 2 " partitions
	udevadm settle
	unbind
	# It does not outlast the attachment.
	configure
	udevadm settle
	expect_equal "$(partitions)" "" "partitions of the next attachment"
	expect loopctl rescan "${DEV}0" --dev-mode ro = EINVAL
	unbind
}

# A new table is found when it is asked for.
rescan() {
	setup
	cp "$DISK" "$WORK/other"
	defer rm -f "$WORK/other"
	DISK=$WORK/other configure --flags "$PARTSCAN"
	udevadm settle
	sfdisk -q --no-reread --no-tell-kernel "$WORK/other" <<<"start=128, size=256, type=83"
	expect_equal "$(partitions)" "1 2 " "partitions before"
	expect loopctl rescan "${DEV}0" --dev-mode ro = ok
	expect_equal "$(partitions)" "1 " "partitions after"
	expect_equal "$(<"$DISK_DIR/${PREFIX}0p1/start")" 128 start
	# Not while one is in use.
	wait_until 10 node_exists "${DEV}0p1" || fail "no node"
	udevadm settle
	exec 7<"${DEV}0p1"
	expect loopctl rescan "${DEV}0" --dev-mode ro = EBUSY
	exec 7<&-
	unbind
}

by_partx() {
	setup
	configure
	partx -a "${DEV}0"
	expect_equal "$(partitions)" "1 2 " "partitions after partx -a"
	wait_until 10 node_exists "${DEV}0p2" || fail "no node"
	cmp -n 65536 "$WORK/content" "${DEV}0p2"
	udevadm settle
	partx -d --nr 1 "${DEV}0"
	expect_equal "$(partitions)" "2 " "partitions after partx -d"
	unbind
	expect_equal "$(partitions)" "" "partitions after detach"
	wait_until 10 is_gone "${DEV}0p2" || fail "node left behind"
}

# Partitions that no scan has found go as well.
by_hand() {
	setup
	configure
	expect loopctl partition "${DEV}0" --dev-mode ro add 7 524288 4096 = ok
	expect_equal "$(partitions)" "7 " partitions
	expect loopctl partition "${DEV}0" --dev-mode ro add 7 1048576 4096 = EBUSY
	expect loopctl partition "${DEV}0" --dev-mode ro add 8 524288 4096 = EBUSY
	expect loopctl partition "${DEV}0" --dev-mode ro add 8 528384 4096 = ok
	wait_until 10 node_exists "${DEV}0p8" || fail "no node"
	udevadm settle
	expect loopctl partition "${DEV}0" --dev-mode ro del 7 = ok
	expect_equal "$(partitions)" "8 " partitions
	unbind
	expect_equal "$(partitions)" "" "partitions after detach"
	configure --flags "$PARTSCAN"
	expect_equal "$(partitions)" "1 2 " "partitions of the next attachment"
	udevadm settle
	unbind
}

# A partition in use keeps the device.
open_partition() {
	setup
	configure --flags "$PARTSCAN"
	wait_until 10 node_exists "${DEV}0p2" || fail "no node"
	udevadm settle
	exec 7<"${DEV}0p2"
	expect loopctl clr-fd "${DEV}0" --dev-mode ro = ok
	udevadm settle
	is_bound "${DEV}0" || fail "detached under an open partition"
	expect_equal "$(partitions)" "1 2 " "partitions while one is open"
	cmp -n 65536 "$WORK/content" - <&7
	exec 7<&-
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
	expect_equal "$(partitions)" "" "partitions after the last close"
}

# One scan: twice would remove and add what has just been added.
one_scan() {
	setup
	uevents_begin
	configure --flags "$PARTSCAN"
	wait_until 5 events_of add 1 || fail "no uevent of the partition"
	udevadm settle
	expect_equal "$(partition_events add)" 1 "events of an added partition"
	expect_equal "$(partition_events remove)" 0 "events of a removed partition"
	unbind
	wait_until 5 events_of remove 1 || fail "no uevent of the removed partition"
	udevadm settle
	expect_equal "$(partition_events add)" 1 "events of an added partition, after detach"
	expect_equal "$(partition_events remove)" 1 "events of a removed partition, after detach"
	# Asked for later.
	configure
	expect loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN" = ok
	wait_until 5 events_of add 2 || fail "no uevent of the partition"
	udevadm settle
	expect_equal "$(partition_events add)" 2 "events of a partition, on request"
	expect_equal "$(partition_events remove)" 1 "events of a removed partition, on request"
	unbind
}

# A receiver of the event of the attachment finds the partitions, and has no reason to scan.
# The block layer sends an event of its own when it begins to scan, with the disk locked.
before_event() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver scans after the event"
	setup
	uevents_begin
	configure --flags "$PARTSCAN"
	wait_until 5 events_of add 1 || fail "no uevent of the partition"
	udevadm settle
	local events
	events=$(awk -v disk="/${PREFIX}0$" -v part="/${PREFIX}0p1$" '
		$1 ~ /^KERNEL/ && $3 ~ disk { print $2 " disk" }
		$1 ~ /^KERNEL/ && $3 ~ part { print $2 " partition" }' "$WORK/uevents" | paste -sd,)
	[[ $events == *"add partition,"*"change disk" ]] || fail "events: $events"
	unbind
}

# Without max_part they are from the range that all drivers share.
shared_numbers() {
	setup
	expect_equal "$(<"$PARAMETERS/max_part")" 0 max_part
	expect_equal "$(stat -c %a "$PARAMETERS/max_part")" 444 "mode of max_part"
	local whole part i
	for i in 0 3; do
		whole=$(sysfs_attr "${DEV}$i" dev)
		expect_equal "${whole#*:}" "$i" "minor of ${PREFIX}$i"
	done
	configure --flags "$PARTSCAN"
	part=$(<"$DISK_DIR/${PREFIX}0p1/dev")
	expect_equal "${part%:*}" 259 "major of a partition"
	udevadm settle
	unbind
}

# max_part ASKED ROUNDED: each device has so many numbers and one more.
own_numbers() {
	local minors=$(($2 + 1)) major i
	reload_driver max_loop=3 max_part="$1"
	DISK_DIR=/sys/block/${PREFIX}0
	expect_equal "$(<"$PARAMETERS/max_part")" "$2" max_part
	major=$(sysfs_attr "${DEV}0" dev)
	major=${major%:*}
	for i in 0 1 2; do
		expect_equal "$(sysfs_attr "${DEV}$i" dev)" "$major:$((i * minors))" "numbers of ${PREFIX}$i"
		expect_equal "$(sysfs_attr "${DEV}$i" range)" "$minors" "range of ${PREFIX}$i"
	done
	# All devices are searched.
	configure
	expect_equal "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	expect_equal "$(partitions)" "1 2 " partitions
	expect_equal "$(<"$DISK_DIR/${PREFIX}0p1/dev")" "$major:1" "numbers of partition 1"
	if (($2 >= 2)); then
		expect_equal "$(<"$DISK_DIR/${PREFIX}0p2/dev")" "$major:2" "numbers of partition 2"
	fi
	expect loopctl rescan "${DEV}0" --dev-mode ro = ok
	expect_equal "$(partitions)" "1 2 " "partitions after a rescan"
	udevadm settle
	unbind
	expect_equal "$(partitions)" "" "partitions after detach"
	# One that is made later.
	expect loopctl control "$CTL" add 5 = 5
	expect_equal "$(sysfs_attr "${DEV}5" dev)" "$major:$((5 * minors))" "numbers of ${PREFIX}5"
	udevadm settle
	unload_driver
}

# A number beyond the device's own is from the range that all share.
beyond_range() {
	reload_driver max_loop=2 max_part=3
	DISK_DIR=/sys/block/${PREFIX}0
	local part
	configure
	expect loopctl partition "${DEV}0" --dev-mode ro add 9 3145728 4096 = ok
	part=$(<"$DISK_DIR/${PREFIX}0p9/dev")
	expect_equal "${part%:*}" 259 "major of partition 9"
	udevadm settle
	unbind
	expect_equal "$(partitions)" "" "partitions after detach"
	unload_driver
}

# refused WHY PARAMETER...
refused() {
	local why=$1
	shift
	! is_loaded || unload_driver
	expect_failure modprobe "$DRIVER" "$@" 2>"$WORK/error"
	grep -q "$why" "$WORK/error" || fail "$(<"$WORK/error")"
	! is_loaded || fail "loaded all the same"
	[[ ! -e $CTL ]] || fail "$CTL left behind"
}

# No partitions, no range.
none() {
	reload_driver max_loop=2 max_part="$1"
	DISK_DIR=/sys/block/${PREFIX}0
	expect_equal "$(<"$PARAMETERS/max_part")" "$1" max_part
	expect_equal "$(sysfs_attr "${DEV}1" range)" 1 range
	configure
	expect_equal "$(partitions)" "" partitions
	unbind
	unload_driver
}

test_case "PARTSCAN at attach shows partitions, and detach removes them" at_attach
test_case "partitions are not looked for unasked" not_asked_for
test_case "PARTSCAN by LOOP_SET_STATUS64 shows partitions" on_request
test_case "BLKRRPART finds a new table, unless a partition is in use" rescan
test_case "partx adds and removes partitions" by_partx
test_case "partitions added by BLKPG go with a detach" by_hand
test_case "detach waits for the last close of a partition" open_partition
test_case "partitions are scanned once" one_scan
test_case "partitions are there before the event of the attachment" before_event
test_case "partitions have numbers of the shared range without max_part" shared_numbers
test_case "max_part=7 gives each device eight numbers" own_numbers 7 7
test_case "max_part=4 is rounded up to 7" own_numbers 4 7
test_case "max_part=255 gives each device 256 numbers" own_numbers 255 255
test_case "partitions beyond max_part have numbers of the shared range" beyond_range
test_case "max_part=256 is refused" refused "Invalid argument" max_part=256
test_case "max_part beyond an int is refused" refused "out of range" max_part=4294967296
test_case "max_loop beyond the numbers of max_part is refused" refused "Invalid argument" max_part=255 max_loop=4097
test_case "max_part=0 leaves one number for each device" none 0
test_case "max_part=-1 leaves one number for each device" none -1

run_cases
