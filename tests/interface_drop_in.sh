#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: only the names of devices differ
#
# Loaded with drop_in=1 the driver stands in for loop.ko: stock tools, which look
# for /dev/loop-control and /dev/loopN, work unchanged. With DRIVER=loop the same
# is asked of the C driver itself.

. "$(dirname "$0")/lib.sh"
need_loopctl

PREFIX=loop
DEV=/dev/loop
CTL=/dev/loop-control
PARAMETER=/sys/module/rust_loop/parameters/drop_in
MIB=1048576
DISK=$WORK/disk
FS=$WORK/fs

# One disk with a filesystem in its only partition, one filesystem by itself.
truncate -s 8M "$DISK"
sfdisk -q "$DISK" <<<"start=2048, size=8192, type=83"
mkfs.ext4 -q -F -O ^has_journal -L part -E "offset=$MIB" "$DISK" 4M
truncate -s 4M "$FS"
mkfs.ext4 -q -O ^has_journal -L whole "$FS"
mkdir "$WORK/mnt"

load_drop_in() {
	if [[ $DRIVER == loop ]]; then
		load_driver "$@"
	else
		load_driver drop_in=1 "$@"
	fi
}

# Removes the remains of the test before.
reload_drop_in() {
	! is_loaded || unload_driver
	load_drop_in "$@"
}

setup() {
	[[ $DRIVER == loop || ! -e $PARAMETER || $(<"$PARAMETER") == Y ]] || unload_driver
	is_loaded || load_drop_in max_loop=3
	defer detach_all
}

detach_all() {
	local file
	for file in /sys/block/loop*/loop; do
		[[ ! -d $file ]] || detach_quietly "${file%/loop}"
	done
}

# is_bound and detach take a device; a directory of sysfs tells its name as well.
detach_quietly() {
	is_unbound "/dev/${1##*/}" || detach "/dev/${1##*/}"
}

# Each device is work for udev, so few.
load_c() {
	modprobe -q loop max_loop=4 || skip "this kernel has no loop.ko"
	udevadm settle
}

numbers() {
	reload_drop_in
	local i
	for ((i = 0; i < 8; i++)); do
		expect_equal "$(<"/sys/block/loop$i/dev")" "7:$i" "numbers of loop$i"
		[[ -b /dev/loop$i ]] || fail "no /dev/loop$i"
	done
	[[ ! -e /sys/block/loop8 ]] || fail "more devices than asked for"
	expect_equal "$(<"/sys/class/misc/loop-control/dev")" 10:237 "numbers of loop-control"
	[[ -c $CTL ]] || fail "no $CTL"
	grep -qx ' *7 loop' /proc/devices || fail "$(cat /proc/devices)"
	expect log_count "loop: module loaded" = 1
	expect loopctl control "$CTL" get-free = 0
	[[ ! -e /dev/rloop-control && ! -e /sys/block/rloop0 ]] || fail "names of its own as well"
}

parameter() {
	need_rust_loop
	reload_drop_in max_loop=1
	expect_equal "$(<"$PARAMETER")" Y drop_in
	expect_equal "$(stat -c %a "$PARAMETER")" 444 "mode of drop_in"
	unload_driver
	load_driver max_loop=1
	expect_equal "$(<"$PARAMETER")" N drop_in
	expect_equal "$(stat -c %a "$PARAMETER")" 444 "mode of drop_in"
	[[ -e /dev/rloop-control && -e /sys/block/rloop0 ]] || fail "not under its own names"
	[[ ! -e /sys/block/loop0 && ! -e $CTL ]] || fail "takes names although it was not asked to"
	unload_driver
	expect_failure modprobe rust_loop drop_in=maybe 2>/dev/null
	! is_loaded || fail "loaded with a drop_in that makes no sense"
}

find_free() {
	setup
	expect losetup -f = "${DEV}0"
	expect losetup -f --show "$DISK" = "${DEV}0"
	expect losetup -f --show -r "$FS" = "${DEV}1"
	expect losetup -f = "${DEV}2"
	expect_equal "$(sysfs_attr "${DEV}1" ro)" 1 ro
	cmp "$DISK" "${DEV}0"
}

# More devices than were made at load.
find_makes() {
	reload_drop_in max_loop=1
	defer detach_all
	expect losetup -f --show "$DISK" = "${DEV}0"
	expect losetup -f --show "$FS" = "${DEV}1"
	expect_equal "$(<"/sys/block/loop1/dev")" 7:1 "numbers of loop1"
	detach "${DEV}1"
	detach "${DEV}0"
	unload_driver
}

list() {
	setup
	losetup -f -o 512 "$DISK"
	losetup -f "$FS"
	losetup -a >"$WORK/list"
	expect_equal "$(wc -l <"$WORK/list")" 2 "lines of losetup -a"
	grep -q "^${DEV}0: .* ($DISK), offset 512\$" "$WORK/list" || fail "$(<"$WORK/list")"
	grep -q "^${DEV}1: .* ($FS)\$" "$WORK/list" || fail "$(<"$WORK/list")"
	# In the order of the directory.
	losetup -l -n --raw -O NAME,BACK-FILE | sort >"$WORK/list"
	expect_equal "$(<"$WORK/list")" "${DEV}0 $DISK"$'\n'"${DEV}1 $FS" "losetup -l"
	losetup -j "$FS" >"$WORK/list"
	grep -q "^${DEV}1: .* ($FS)\$" "$WORK/list" || fail "losetup -j: $(<"$WORK/list")"
	expect_equal "$(wc -l <"$WORK/list")" 1 "lines of losetup -j"
	expect losetup -j "$WORK/other" = ""
}

detach_verbs() {
	setup
	losetup -f "$DISK"
	losetup -f "$FS"
	detach "${DEV}0"
	is_bound "${DEV}1" || fail "losetup -d took another one with it"
	losetup -f "$DISK"
	losetup -D
	wait_until 10 is_unbound "${DEV}0" || fail "losetup -D left ${DEV}0"
	wait_until 10 is_unbound "${DEV}1" || fail "losetup -D left ${DEV}1"
	expect losetup -a = ""
}

capacity() {
	setup
	truncate -s 1M "$WORK/growing"
	defer rm -f "$WORK/growing"
	losetup -f "$WORK/growing"
	truncate -s 2M "$WORK/growing"
	expect_equal "$(sectors "${DEV}0")" 2048 "sectors before losetup -c"
	losetup -c "${DEV}0"
	expect_equal "$(sectors "${DEV}0")" 4096 "sectors after losetup -c"
}

direct_io() {
	setup
	expect losetup -f --show --direct-io=on "$DISK" = "${DEV}0"
	expect losetup -l -n --raw -O DIO "${DEV}0" = 1
	losetup --direct-io=off "${DEV}0"
	expect losetup -l -n --raw -O DIO "${DEV}0" = 0
	losetup --direct-io=on "${DEV}0"
	expect losetup -l -n --raw -O DIO "${DEV}0" = 1
	cmp "$DISK" "${DEV}0"
}

# A file that is attached already is not attached another time.
no_overlap() {
	setup
	expect losetup -f --show "$DISK" = "${DEV}0"
	expect losetup -f --show -L "$DISK" = "${DEV}0"
	is_unbound "${DEV}1" || fail "attached twice"
}

partitions() {
	setup
	# udev looks for partitions itself when the device has been open for writing,
	# and meanwhile there are none. It leaves a locked device alone.
	exec 8<"${DEV}0"
	flock 8
	expect losetup -P -f --show "$DISK" = "${DEV}0"
	wait_until 10 test -b "${DEV}0p1" || fail "no node of the partition"
	expect_equal "$(<"/sys/block/loop0/loop0p1/size")" 8192 "sectors of the partition"
	expect_equal "$(<"/sys/block/loop0/loop0p1/start")" 2048 "start of the partition"
	mount "${DEV}0p1" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	echo hello >"$WORK/mnt/file"
	unmount_quietly "$WORK/mnt"
	exec 8<&-
	losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
	wait_until 10 test ! -e /sys/block/loop0/loop0p1 || fail "partition left behind"
}

# mount makes the device and lets it go.
mount_loop() {
	setup
	mount -o loop "$FS" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	expect_equal "$(findmnt -n -o SOURCE "$WORK/mnt")" "${DEV}0" "source of the mount"
	expect_equal "$(sysfs_attr "${DEV}0" loop/autoclear)" 1 autoclear
	echo hello >"$WORK/mnt/file"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
	# mount takes a regular file as a request for a loop device.
	mount -r "$FS" "$WORK/mnt"
	expect_equal "$(<"$WORK/mnt/file")" hello "content"
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 1 ro
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
}

mount_offset() {
	setup
	mount -o "loop,offset=$MIB,sizelimit=$((4 * MIB))" "$DISK" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	expect_equal "$(sysfs_attr "${DEV}0" loop/offset)" "$MIB" offset
	expect_equal "$(sysfs_attr "${DEV}0" loop/sizelimit)" "$((4 * MIB))" sizelimit
	[[ -d $WORK/mnt/lost+found ]] || fail "another filesystem"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
}

umount_detaches() {
	setup
	losetup -f "$FS"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	expect_equal "$(sysfs_attr "${DEV}0" loop/autoclear)" 0 autoclear
	umount -d "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "umount -d did not detach"
}

with_busybox() {
	need_command busybox
	setup
	expect busybox losetup -f = "${DEV}0"
	busybox losetup -f "$DISK"
	busybox losetup -a | grep -q "^${DEV}0: 0 $DISK\$" || fail "$(busybox losetup -a)"
	busybox losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
}

# udev knows loop devices by their name.
links() {
	setup
	losetup -f "$FS"
	udevadm settle
	udevadm info -q property "${DEV}0" >"$WORK/properties"
	grep -qx "ID_FS_LABEL=whole" "$WORK/properties" || fail "$(<"$WORK/properties")"
	grep -qx "ID_FS_TYPE=ext4" "$WORK/properties" || fail "$(<"$WORK/properties")"
	local link
	for link in by-label/whole "by-diskseq/$(sysfs_attr "${DEV}0" diskseq)" \
		"by-loop-inode/$(stat -c %Hd:%Ld-%i "$FS")" "by-loop-ref/${FS//\//\\x2f}"; do
		[[ /dev/disk/$link -ef ${DEV}0 ]] || fail "no /dev/disk/$link: $(<"$WORK/properties")"
	done
	detach "${DEV}0"
	udevadm settle
	[[ ! -e /dev/disk/by-label/whole ]] || fail "link left behind"
}

# All that sysfs says of a device; not what it counts.
sysfs_of() {
	# Attributes that can only be written are left out.
	{ grep -rs '' "/sys/block/$1/" --exclude=stat --exclude=inflight --exclude=diskseq --exclude=uevent \
		--exclude='runtime_*_time' --exclude-dir=trace || true; } | sort
}

# The same attributes with the same values.
like_c() {
	need_rust_loop
	! is_loaded || unload_driver
	load_c
	defer unload_c_driver
	attach "${DEV}3" -o 4096 --sizelimit 1M -r "$DISK"
	sysfs_of loop3 >"$WORK/c"
	detach "${DEV}3"
	unload_c_driver
	# The C driver has one hardware queue.
	load_drop_in max_loop=4 nr_hw_queues=1
	attach "${DEV}3" -o 4096 --sizelimit 1M -r "$DISK"
	sysfs_of loop3 >"$WORK/ours"
	grep -q 'loop/backing_file' "$WORK/ours" || fail "nothing read"
	diff "$WORK/c" "$WORK/ours" || fail "sysfs differs"
	detach "${DEV}3"
	unload_driver
}

# The driver that was loaded first keeps the names.
occupied() {
	need_rust_loop
	! is_loaded || unload_driver
	load_c
	defer unload_c_driver
	local before misc
	losetup "${DEV}0" "$DISK"
	defer detach_quietly "${DEV}0"
	before=$(</proc/devices)
	misc=$(</proc/misc)
	expect_failure modprobe rust_loop drop_in=1 2>"$WORK/error"
	grep -q 'busy' "$WORK/error" || fail "$(<"$WORK/error")"
	expect_equal "$(dmesg -t | grep -c '^rust_loop:')" 1 "lines in the log"
	[[ ! -e /sys/module/rust_loop ]] || fail "the module is there"
	[[ ! -e $DEBUGFS/rust_loop ]] || fail "its debugfs directory is there"
	expect_equal "$(</proc/devices)" "$before" /proc/devices
	expect_equal "$(</proc/misc)" "$misc" /proc/misc
	cmp "$DISK" "${DEV}0"
	expect losetup -f --show "$FS" = "${DEV}1"
	detach "${DEV}1"
}

keeps_out() {
	need_rust_loop
	setup
	local before
	losetup "${DEV}0" "$DISK"
	before=$(</proc/devices)
	expect_failure modprobe loop 2>"$WORK/error"
	[[ ! -e /sys/module/loop ]] || fail "loop.ko loaded all the same"
	expect_equal "$(</proc/devices)" "$before" /proc/devices
	[[ -c $CTL ]] || fail "no $CTL any more"
	cmp "$DISK" "${DEV}0"
	expect losetup -f --show "$FS" = "${DEV}1"
	detach "${DEV}1"
	detach "${DEV}0"
}

# Each finds the names free after the other.
in_turns() {
	need_rust_loop
	! is_loaded || unload_driver
	local i
	for ((i = 0; i < 2; i++)); do
		load_drop_in max_loop=1
		attach "${DEV}0" "$DISK"
		detach "${DEV}0"
		unload_driver
		[[ ! -e /sys/class/misc/loop-control && ! -e /sys/block/loop0 ]] || fail "left behind"
		[[ ! -e $DEBUGFS/rust_loop ]] || fail "debugfs directory left behind"
		defer unload_c_driver
		load_c
		attach "${DEV}0" "$DISK"
		cmp "$DISK" "${DEV}0"
		detach "${DEV}0"
		unload_c_driver
	done
}

test_case "names and numbers are those of loop.ko" numbers
test_case "losetup -f finds a free device" find_free
test_case "losetup -f makes a device if none is free" find_makes
test_case "losetup -a, -l and -j list the devices" list
test_case "losetup -d and -D detach" detach_verbs
test_case "losetup -c takes the new size" capacity
test_case "losetup --direct-io switches the mode" direct_io
test_case "losetup -L attaches no file twice" no_overlap
test_case "losetup -P -f shows partitions, and detach removes them" partitions
test_case "mount -o loop attaches, and umount detaches" mount_loop
test_case "mount -o loop,offset= mounts the part of the file" mount_offset
test_case "umount -d detaches" umount_detaches
test_case "losetup of busybox works" with_busybox
test_case "udev makes its properties and links" links
test_case "loop.ko cannot be loaded meanwhile" keeps_out
test_case "drop_in is off unless asked for, and cannot be changed later" parameter
test_case "loading fails and leaves nothing if loop.ko is loaded" occupied
test_case "sysfs has the attributes and values of the C driver" like_c
test_case "this driver and loop.ko can be loaded in turns" in_turns

run_cases
