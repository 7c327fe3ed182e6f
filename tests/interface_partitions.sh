#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# Partitions: when they are looked for, who can add and remove them, and what
# minor numbers they have.

. "$(dirname "$0")/lib.sh"

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


with_parameters() {
	! is_loaded || unload_driver
	load_driver "$@"
}

setup() {
	if ! is_loaded || [[ $(<"$PARAMETERS/max_part") != 0 ]]; then
		with_parameters max_loop=4
	fi
	DISK_DIR=/sys/block/${PREFIX}0
}

# configure [loopctl options]: attach the disk without starting a program. udev
# looks for partitions itself on a disk that somebody has had open for writing, if
# it knows its name, and meanwhile there are none; so it is opened for reading.
configure() {
	defer unbind_quietly
	expect ok loopctl configure "${DEV}0" "$DISK" --dev-mode ro "$@"
}

unbind() {
	expect ok loopctl clr-fd "${DEV}0" --dev-mode ro
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

node_gone() {
	[[ ! -e $1 ]]
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
	same "$(partitions)" "1 2 " partitions
	same "$(<"$DISK_DIR/${PREFIX}0p2/start")" 2048 start
	same "$(<"$DISK_DIR/${PREFIX}0p2/size")" 4096 size
	wait_until 10 node_exists "${DEV}0p2" || fail "no node"
	cmp -n 65536 "$WORK/content" "${DEV}0p2"
	random_file "$WORK/more" 64K
	dd if="$WORK/more" of="${DEV}0p2" oflag=direct bs=64K status=none
	cmp -n 65536 -i 0:1048576 "$WORK/more" "$DISK"
	dd if="$WORK/content" of="${DEV}0p2" oflag=direct bs=64K status=none
	exec 8<&-
	udevadm settle
	unbind
	same "$(partitions)" "" "partitions after detach"
	wait_until 10 node_gone "${DEV}0p1" || fail "node left behind"
	wait_until 10 node_gone "${DEV}0p2" || fail "node left behind"
}

not_asked_for() {
	setup
	configure
	udevadm settle
	same "$(partitions)" "" partitions
	# Nor by who opens it or asks for it.
	expect EINVAL loopctl rescan "${DEV}0" --dev-mode ro
	exec 7<"${DEV}0"
	exec 7<&-
	same "$(partitions)" "" partitions
	unbind
}

on_request() {
	setup
	configure
	same "$(partitions)" "" partitions
	expect ok loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN"
	same "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	same "$(partitions)" "1 2 " partitions
	# It stays on, and asking again finds nothing new.
	expect ok loopctl set-status "${DEV}0" --dev-mode ro
	same "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	expect ok loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN"
	same "$(partitions)" "1 2 " partitions
	udevadm settle
	unbind
	# It does not outlast the attachment.
	configure
	udevadm settle
	same "$(partitions)" "" "partitions of the next attachment"
	expect EINVAL loopctl rescan "${DEV}0" --dev-mode ro
	unbind
}

# A new table is found when it is asked for.
rescan() {
	setup
	cp "$DISK" "$WORK/other"
	defer 'rm -f "$WORK/other"'
	DISK=$WORK/other configure --flags "$PARTSCAN"
	udevadm settle
	sfdisk -q --no-reread --no-tell-kernel "$WORK/other" <<<"start=128, size=256, type=83"
	same "$(partitions)" "1 2 " "partitions before"
	expect ok loopctl rescan "${DEV}0" --dev-mode ro
	same "$(partitions)" "1 " "partitions after"
	same "$(<"$DISK_DIR/${PREFIX}0p1/start")" 128 start
	# Not under somebody who uses one.
	wait_until 10 node_exists "${DEV}0p1" || fail "no node"
	udevadm settle
	exec 7<"${DEV}0p1"
	expect EBUSY loopctl rescan "${DEV}0" --dev-mode ro
	exec 7<&-
	unbind
}

by_partx() {
	setup
	configure
	partx -a "${DEV}0"
	same "$(partitions)" "1 2 " "partitions after partx -a"
	wait_until 10 node_exists "${DEV}0p2" || fail "no node"
	cmp -n 65536 "$WORK/content" "${DEV}0p2"
	udevadm settle
	partx -d --nr 1 "${DEV}0"
	same "$(partitions)" "2 " "partitions after partx -d"
	unbind
	same "$(partitions)" "" "partitions after detach"
	wait_until 10 node_gone "${DEV}0p2" || fail "node left behind"
}

# Those that nobody scanned for go as well.
by_hand() {
	setup
	configure
	expect ok loopctl partition "${DEV}0" --dev-mode ro add 7 524288 4096
	same "$(partitions)" "7 " partitions
	expect EBUSY loopctl partition "${DEV}0" --dev-mode ro add 7 1048576 4096
	expect EBUSY loopctl partition "${DEV}0" --dev-mode ro add 8 524288 4096
	expect ok loopctl partition "${DEV}0" --dev-mode ro add 8 528384 4096
	wait_until 10 node_exists "${DEV}0p8" || fail "no node"
	udevadm settle
	expect ok loopctl partition "${DEV}0" --dev-mode ro del 7
	same "$(partitions)" "8 " partitions
	unbind
	same "$(partitions)" "" "partitions after detach"
	configure --flags "$PARTSCAN"
	same "$(partitions)" "1 2 " "partitions of the next attachment"
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
	expect ok loopctl clr-fd "${DEV}0" --dev-mode ro
	udevadm settle
	is_bound "${DEV}0" || fail "detached under an open partition"
	same "$(partitions)" "1 2 " "partitions while one is open"
	cmp -n 65536 "$WORK/content" - <&7
	exec 7<&-
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
	same "$(partitions)" "" "partitions after the last close"
}

# One scan: twice would remove and add what has just been added.
one_scan() {
	setup
	uevents_begin
	configure --flags "$PARTSCAN"
	wait_until 5 events_of add 1 || fail "no uevent of the partition"
	udevadm settle
	same "$(partition_events add)" 1 "events of an added partition"
	same "$(partition_events remove)" 0 "events of a removed partition"
	unbind
	wait_until 5 events_of remove 1 || fail "no uevent of the removed partition"
	udevadm settle
	same "$(partition_events add)" 1 "events of an added partition, after detach"
	same "$(partition_events remove)" 1 "events of a removed partition, after detach"
	# Asked for later.
	configure
	expect ok loopctl set-status "${DEV}0" --dev-mode ro --flags "$PARTSCAN"
	wait_until 5 events_of add 2 || fail "no uevent of the partition"
	udevadm settle
	same "$(partition_events add)" 2 "events of a partition, on request"
	same "$(partition_events remove)" 1 "events of a removed partition, on request"
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
	same "$(<"$PARAMETERS/max_part")" 0 max_part
	same "$(stat -c %a "$PARAMETERS/max_part")" 444 "mode of max_part"
	local whole part i
	for i in 0 3; do
		whole=$(sysfs_attr "${DEV}$i" dev)
		same "${whole#*:}" "$i" "minor of ${PREFIX}$i"
	done
	configure --flags "$PARTSCAN"
	part=$(<"$DISK_DIR/${PREFIX}0p1/dev")
	same "${part%:*}" 259 "major of a partition"
	udevadm settle
	unbind
}

# max_part ASKED ROUNDED: each device has so many numbers and one more.
own_numbers() {
	local minors=$(($2 + 1)) major i
	with_parameters max_loop=3 max_part="$1"
	DISK_DIR=/sys/block/${PREFIX}0
	same "$(<"$PARAMETERS/max_part")" "$2" max_part
	major=$(sysfs_attr "${DEV}0" dev)
	major=${major%:*}
	for i in 0 1 2; do
		same "$(sysfs_attr "${DEV}$i" dev)" "$major:$((i * minors))" "numbers of ${PREFIX}$i"
		same "$(sysfs_attr "${DEV}$i" range)" "$minors" "range of ${PREFIX}$i"
	done
	# All devices are searched.
	configure
	same "$(sysfs_attr "${DEV}0" loop/partscan)" 1 partscan
	same "$(partitions)" "1 2 " partitions
	same "$(<"$DISK_DIR/${PREFIX}0p1/dev")" "$major:1" "numbers of partition 1"
	if (($2 >= 2)); then
		same "$(<"$DISK_DIR/${PREFIX}0p2/dev")" "$major:2" "numbers of partition 2"
	fi
	expect ok loopctl rescan "${DEV}0" --dev-mode ro
	same "$(partitions)" "1 2 " "partitions after a rescan"
	udevadm settle
	unbind
	same "$(partitions)" "" "partitions after detach"
	# One that is made later.
	expect 5 loopctl control "$CTL" add 5
	same "$(sysfs_attr "${DEV}5" dev)" "$major:$((5 * minors))" "numbers of ${PREFIX}5"
	udevadm settle
	unload_driver
}

# A number beyond the device's own is from the range that all share.
beyond_range() {
	with_parameters max_loop=2 max_part=3
	DISK_DIR=/sys/block/${PREFIX}0
	local part
	configure
	expect ok loopctl partition "${DEV}0" --dev-mode ro add 9 3145728 4096
	part=$(<"$DISK_DIR/${PREFIX}0p9/dev")
	same "${part%:*}" 259 "major of partition 9"
	udevadm settle
	unbind
	same "$(partitions)" "" "partitions after detach"
	unload_driver
}

# refused WHY PARAMETER...
refused() {
	local why=$1
	shift
	! is_loaded || unload_driver
	must_fail modprobe "$DRIVER" "$@" 2>"$WORK/error"
	grep -q "$why" "$WORK/error" || fail "$(<"$WORK/error")"
	! is_loaded || fail "loaded all the same"
	[[ ! -e $CTL ]] || fail "$CTL left behind"
}

# No partitions, no range.
none() {
	with_parameters max_loop=2 max_part="$1"
	DISK_DIR=/sys/block/${PREFIX}0
	same "$(<"$PARAMETERS/max_part")" "$1" max_part
	same "$(sysfs_attr "${DEV}1" range)" 1 range
	configure
	same "$(partitions)" "" partitions
	unbind
	unload_driver
}

it "PARTSCAN at attach" at_attach
it "not asked for" not_asked_for
it "PARTSCAN by LOOP_SET_STATUS64" on_request
it "BLKRRPART" rescan
it "partx" by_partx
it "BLKPG without PARTSCAN" by_hand
it "detach with a partition open" open_partition
it "partitions are scanned once" one_scan
it "partitions are there before the event of the attachment" before_event
it "numbers without max_part" shared_numbers
it "max_part=7" own_numbers 7 7
it "max_part=4 is rounded up" own_numbers 4 7
it "max_part=255" own_numbers 255 255
it "partitions beyond max_part" beyond_range
it "max_part=256" refused "Invalid argument" max_part=256
it "max_part beyond an int" refused "out of range" max_part=4294967296
it "max_loop beyond the numbers of max_part" refused "Invalid argument" max_part=255 max_loop=4097
it "max_part=0" none 0
it "max_part=-1" none -1

run
