#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# Another backing file for a read-only device in use: LOOP_CHANGE_FD.

. "$(dirname "$0")/lib.sh"
need_loopctl

READ_ONLY=1
PARTSCAN=8
DIRECT_IO=16
A=$WORK/a
B=$WORK/b

random_file "$A" 1M
random_file "$B" 1M

setup() {
	ensure_driver
	DIR=/sys/block/${PREFIX}0
}

# configure DEVICE FILE [options]: attach without starting a program.
configure() {
	defer detach_by_ioctl_quietly "$1"
	expect loopctl configure "$@" = ok
}

# filesystem NAME TYPE: an empty one in memory. It can be unmounted only if no file of
# it is in use.
filesystem() {
	mkdir -p "$WORK/$1"
	mount -t "$2" "$2" "$WORK/$1"
	defer unmount_quietly "$WORK/$1"
}

is_direct() {
	local flags
	flags=$(status_field "${DEV}0" flags)
	expect_equal "$(((flags & DIRECT_IO) != 0))" "$(<"$DIR/loop/dio")" "flag and attribute of direct I/O"
	echo "$((flags & DIRECT_IO))"
}

change() {
	setup
	filesystem old tmpfs
	cp "$A" "$WORK/old/a"
	configure "${DEV}0" "$WORK/old/a" --flags "$READ_ONLY"
	# Pages that were read before do not show through.
	expect_content "${DEV}0" "$A"
	local seq
	seq=$(<"$DIR/diskseq")
	expect loopctl change-fd "${DEV}0" "$B" = ok
	expect_content "${DEV}0" "$B"
	expect_equal "$(<"$DIR/loop/backing_file")" "$B" backing_file
	expect_equal "$(status_field "${DEV}0" inode)" "$(stat -c %i "$B")" inode
	expect_equal "$(status_field "${DEV}0" flags)" "$READ_ONLY" flags
	(($(<"$DIR/diskseq") > seq)) || fail "still the same disk by its diskseq"
	umount "$WORK/old" || fail "the old file is still in use"
	expect loopctl change-fd "${DEV}0" "$A" --file-mode ro --dev-mode ro = ok
	expect_content "${DEV}0" "$A"
	detach_by_ioctl "${DEV}0"
}

# The settings stay, and what counts is the size of the device.
change_keeps_settings() {
	setup
	configure "${DEV}0" "$A" --flags "$READ_ONLY" --offset 4096 --sizelimit 65536 --name a
	cp "$B" "$WORK/longer"
	defer rm -f "$WORK/longer"
	truncate -s 3M "$WORK/longer"
	expect loopctl change-fd "${DEV}0" "$WORK/longer" = ok
	expect_equal "$(status_field "${DEV}0" offset) $(status_field "${DEV}0" sizelimit) $(status_field "${DEV}0" name)" "4096 65536 a" settings
	cmp "${DEV}0" <(tail -c +4097 "$B" | head -c 65536)
	expect loopctl set-status "${DEV}0" = ok
	expect_equal "$(sectors "${DEV}0")" 6144 sectors
	expect loopctl change-fd "${DEV}0" "$B" = EINVAL
	detach_by_ioctl "${DEV}0"
}

# refused ERRNO FILE [options]
change_refused() {
	local before
	before=$(uevent_count "${DEV}0")
	expect loopctl change-fd "${DEV}0" "${@:2}" = "$1"
	# An event of another device comes after all of this one's.
	echo change >"/sys/block/${PREFIX}3/uevent"
	OTHERS=$((OTHERS + 1))
	wait_until 5 uevents_exceed "${DEV}3" $((OTHERS - 1)) || fail "no uevents"
	# The C driver has one to tell.
	[[ $DRIVER == loop ]] || expect_equal "$(uevent_count "${DEV}0")" "$before" "uevents of a failed change"
	expect_equal "$(<"$DIR/loop/backing_file")" "$A" backing_file
	cmp "$A" "${DEV}0"
}

changes_refused() {
	setup
	filesystem new tmpfs
	truncate -s 2M "$WORK/new/longer"
	truncate -s 1000K "$WORK/new/shorter"
	uevents_begin
	OTHERS=$(uevent_count "${DEV}3")
	expect loopctl change-fd "${DEV}0" "$WORK/new/longer" = ENXIO
	expect loopctl change-fd "${DEV}0" closed = EBADF
	# A device that can be written.
	configure "${DEV}0" "$A"
	udevadm settle
	change_refused EINVAL "$B"
	change_refused EINVAL "$WORK/new/longer"
	detach_by_ioctl "${DEV}0"
	configure "${DEV}0" "$A" --flags "$READ_ONLY"
	udevadm settle
	change_refused EINVAL "$WORK/new/longer"
	change_refused EINVAL "$WORK/new/shorter"
	change_refused EBADF closed
	change_refused EBADF negative
	change_refused EBADF "$B" --file-mode path
	change_refused EINVAL "$WORK/new" --file-mode ro
	change_refused EINVAL pipe
	change_refused EINVAL socket
	change_refused EINVAL /dev/null
	change_refused EBADF "${DEV}0" --file-mode ro
	change_refused EINVAL "${DEV}1" --file-mode ro
	umount "$WORK/new" || fail "a file that was refused is still in use"
	uevents_work "${DEV}0"
	local before
	before=$(uevent_count "${DEV}0")
	expect loopctl change-fd "${DEV}0" "$B" = ok
	wait_until 5 uevents_exceed "${DEV}0" "$before" || fail "no uevent of a change"
	detach_by_ioctl "${DEV}0"
	expect loopctl change-fd "${DEV}0" "$B" = ENXIO
}

# partitions: their start sectors.
partition_starts() {
	local file start list=
	for file in "$DIR/${PREFIX}0p"*/start; do
		# A partition may be gone by now.
		! read -r start 2>/dev/null <"$file" || list+="$start "
	done
	echo "$list"
}

change_rescans() {
	setup
	cp "$A" "$WORK/one"
	cp "$A" "$WORK/two"
	defer rm -f "$WORK/one" "$WORK/two"
	sfdisk -q "$WORK/one" <<<"start=64, size=64, type=83"
	sfdisk -q "$WORK/two" <<-'TABLE'
		start=128, size=64, type=83
		start=256, size=64, type=83
	TABLE
	# Open for reading: udev looks for partitions itself on what has been written.
	configure "${DEV}0" "$WORK/one" --dev-mode ro --flags $((READ_ONLY | PARTSCAN))
	expect_equal "$(partition_starts)" "64 " partitions
	expect loopctl change-fd "${DEV}0" --dev-mode ro "$WORK/two" = ok
	expect_equal "$(partition_starts)" "128 256 " "partitions of the other file"
	expect loopctl change-fd "${DEV}0" --dev-mode ro "$A" = ok
	expect_equal "$(partition_starts)" "" "partitions of a file without a table"
	udevadm settle
	detach_by_ioctl "${DEV}0"
	# Only if it is asked for.
	configure "${DEV}0" "$WORK/one" --dev-mode ro --flags "$READ_ONLY"
	expect loopctl change-fd "${DEV}0" --dev-mode ro "$WORK/two" = ok
	expect_equal "$(partition_starts)" "" "partitions, not asked for"
	udevadm settle
	detach_by_ioctl "${DEV}0"
}

# A file that is open for direct I/O brings that with it.
change_direct() {
	setup
	configure "${DEV}0" "$A" --flags "$READ_ONLY"
	expect_equal "$(is_direct)" 0 "direct I/O"
	expect loopctl change-fd "${DEV}0" "$B" --direct = ok
	expect_equal "$(is_direct)" "$DIRECT_IO" "direct I/O"
	expect_content "${DEV}0" "$B"
	# A file that cannot loses it.
	filesystem ram ramfs
	cp "$A" "$WORK/ram/a"
	expect loopctl change-fd "${DEV}0" "$WORK/ram/a" = ok
	expect_equal "$(is_direct)" 0 "direct I/O to a file on ramfs"
	expect_content "${DEV}0" "$A"
	detach_by_ioctl "${DEV}0"
}

change_under_io() {
	setup
	local i pid
	cp "$A" "$WORK/copy"
	defer rm -f "$WORK/copy"
	configure "${DEV}0" "$A" --flags "$READ_ONLY"
	while [[ ! -e $WORK/enough ]]; do
		cmp "$A" "${DEV}0" || exit 1
		dd if="${DEV}0" bs=16K iflag=direct status=none | cmp "$A" || exit 1
	done &
	pid=$!
	for ((i = 0; i < 8; i++)); do
		expect loopctl change-fd "${DEV}0" "$WORK/copy" = ok
		expect loopctl change-fd "${DEV}0" "$A" = ok
	done
	touch "$WORK/enough"
	wait "$pid" || fail "a reader saw something else"
	udevadm settle
	detach_by_ioctl "${DEV}0"
}

test_case "LOOP_CHANGE_FD shows the new file and releases the old one" change
test_case "LOOP_CHANGE_FD keeps the settings" change_keeps_settings
test_case "a refused LOOP_CHANGE_FD changes nothing" changes_refused
test_case "LOOP_CHANGE_FD scans for partitions if PARTSCAN is set" change_rescans
test_case "direct I/O follows the new file" change_direct
test_case "LOOP_CHANGE_FD works under I/O" change_under_io

run_cases
