#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# Loaded with drop_in=1 the driver stands in for loop.ko: stock tools, which look
# for /dev/loop-control and /dev/loopN, work unchanged. With DRIVER=loop the same
# is asked of the C driver itself.

. "$(dirname "$0")/lib.sh"

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

# Whatever the test before has left behind.
reload() {
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

unmount() {
	! mountpoint -q "$WORK/mnt" || umount "$WORK/mnt"
}

# Each device is work for udev, so few.
load_c() {
	modprobe -q loop max_loop=4 || skip "this kernel has no loop.ko"
	udevadm settle
}

unload_c() {
	[[ ! -d /sys/module/loop ]] || {
		udevadm settle
		wait_until 10 rmmod loop 2>/dev/null || fail "loop.ko does not unload"
	}
}

numbers() {
	reload
	local i
	for ((i = 0; i < 8; i++)); do
		same "$(<"/sys/block/loop$i/dev")" "7:$i" "numbers of loop$i"
		[[ -b /dev/loop$i ]] || fail "no /dev/loop$i"
	done
	[[ ! -e /sys/block/loop8 ]] || fail "more devices than asked for"
	same "$(<"/sys/class/misc/loop-control/dev")" 10:237 "numbers of loop-control"
	[[ -c $CTL ]] || fail "no $CTL"
	grep -qx ' *7 loop' /proc/devices || fail "$(cat /proc/devices)"
	expect 1 log_count "loop: module loaded"
	expect 0 loopctl control "$CTL" get-free
	[[ ! -e /dev/rloop-control && ! -e /sys/block/rloop0 ]] || fail "names of its own as well"
}

parameter() {
	need_rust_loop
	reload max_loop=1
	same "$(<"$PARAMETER")" Y drop_in
	same "$(stat -c %a "$PARAMETER")" 444 "mode of drop_in"
	unload_driver
	load_driver max_loop=1
	same "$(<"$PARAMETER")" N drop_in
	same "$(stat -c %a "$PARAMETER")" 444 "mode of drop_in"
	[[ -e /dev/rloop-control && -e /sys/block/rloop0 ]] || fail "not under its own names"
	[[ ! -e /sys/block/loop0 && ! -e $CTL ]] || fail "takes names although it was not asked to"
	unload_driver
	must_fail modprobe rust_loop drop_in=maybe 2>/dev/null
	! is_loaded || fail "loaded with a drop_in that makes no sense"
}

find_free() {
	setup
	expect "${DEV}0" losetup -f
	expect "${DEV}0" losetup -f --show "$DISK"
	expect "${DEV}1" losetup -f --show -r "$FS"
	expect "${DEV}2" losetup -f
	same "$(sysfs_attr "${DEV}1" ro)" 1 ro
	cmp "$DISK" "${DEV}0"
}

# More devices than were made at load.
find_makes() {
	reload max_loop=1
	defer detach_all
	expect "${DEV}0" losetup -f --show "$DISK"
	expect "${DEV}1" losetup -f --show "$FS"
	same "$(<"/sys/block/loop1/dev")" 7:1 "numbers of loop1"
	detach "${DEV}1"
	detach "${DEV}0"
	unload_driver
}

list() {
	setup
	losetup -f -o 512 "$DISK"
	losetup -f "$FS"
	losetup -a >"$WORK/list"
	same "$(wc -l <"$WORK/list")" 2 "lines of losetup -a"
	grep -q "^${DEV}0: .* ($DISK), offset 512\$" "$WORK/list" || fail "$(<"$WORK/list")"
	grep -q "^${DEV}1: .* ($FS)\$" "$WORK/list" || fail "$(<"$WORK/list")"
	# In the order of the directory.
	losetup -l -n --raw -O NAME,BACK-FILE | sort >"$WORK/list"
	same "$(<"$WORK/list")" "${DEV}0 $DISK"$'\n'"${DEV}1 $FS" "losetup -l"
	losetup -j "$FS" >"$WORK/list"
	grep -q "^${DEV}1: .* ($FS)\$" "$WORK/list" || fail "losetup -j: $(<"$WORK/list")"
	same "$(wc -l <"$WORK/list")" 1 "lines of losetup -j"
	expect "" losetup -j "$WORK/other"
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
	expect "" losetup -a
}

capacity() {
	setup
	truncate -s 1M "$WORK/growing"
	defer 'rm -f "$WORK/growing"'
	losetup -f "$WORK/growing"
	truncate -s 2M "$WORK/growing"
	same "$(sectors "${DEV}0")" 2048 "sectors before losetup -c"
	losetup -c "${DEV}0"
	same "$(sectors "${DEV}0")" 4096 "sectors after losetup -c"
}

direct_io() {
	setup
	expect "${DEV}0" losetup -f --show --direct-io=on "$DISK"
	expect 1 losetup -l -n --raw -O DIO "${DEV}0"
	losetup --direct-io=off "${DEV}0"
	expect 0 losetup -l -n --raw -O DIO "${DEV}0"
	losetup --direct-io=on "${DEV}0"
	expect 1 losetup -l -n --raw -O DIO "${DEV}0"
	cmp "$DISK" "${DEV}0"
}

# A file that is attached already is not attached another time.
no_overlap() {
	setup
	expect "${DEV}0" losetup -f --show "$DISK"
	expect "${DEV}0" losetup -f --show -L "$DISK"
	is_unbound "${DEV}1" || fail "attached twice"
}

partitions() {
	setup
	# udev looks for partitions itself when the device has been open for writing,
	# and meanwhile there are none. It leaves a locked device alone.
	exec 8<"${DEV}0"
	flock 8
	expect "${DEV}0" losetup -P -f --show "$DISK"
	wait_until 10 test -b "${DEV}0p1" || fail "no node of the partition"
	same "$(<"/sys/block/loop0/loop0p1/size")" 8192 "sectors of the partition"
	same "$(<"/sys/block/loop0/loop0p1/start")" 2048 "start of the partition"
	mount "${DEV}0p1" "$WORK/mnt"
	defer unmount
	echo hello >"$WORK/mnt/file"
	unmount
	exec 8<&-
	losetup -d "${DEV}0"
	wait_until 10 is_unbound "${DEV}0"
	wait_until 10 test ! -e /sys/block/loop0/loop0p1 || fail "partition left behind"
}

# mount makes the device and lets it go.
mount_loop() {
	setup
	mount -o loop "$FS" "$WORK/mnt"
	defer unmount
	same "$(findmnt -n -o SOURCE "$WORK/mnt")" "${DEV}0" "source of the mount"
	same "$(sysfs_attr "${DEV}0" loop/autoclear)" 1 autoclear
	echo hello >"$WORK/mnt/file"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
	# mount takes a regular file as a request for a loop device.
	mount -r "$FS" "$WORK/mnt"
	same "$(<"$WORK/mnt/file")" hello "content"
	same "$(sysfs_attr "${DEV}0" ro)" 1 ro
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
}

mount_offset() {
	setup
	mount -o "loop,offset=$MIB,sizelimit=$((4 * MIB))" "$DISK" "$WORK/mnt"
	defer unmount
	same "$(sysfs_attr "${DEV}0" loop/offset)" "$MIB" offset
	same "$(sysfs_attr "${DEV}0" loop/sizelimit)" "$((4 * MIB))" sizelimit
	[[ -d $WORK/mnt/lost+found ]] || fail "another filesystem"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
}

umount_detaches() {
	setup
	losetup -f "$FS"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount
	same "$(sysfs_attr "${DEV}0" loop/autoclear)" 0 autoclear
	umount -d "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "umount -d did not detach"
}

with_busybox() {
	need_command busybox
	setup
	expect "${DEV}0" busybox losetup -f
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
	# What can only be written is nothing to fail for.
	{ grep -rs '' "/sys/block/$1/" --exclude=stat --exclude=inflight --exclude=diskseq --exclude=uevent \
		--exclude='runtime_*_time' --exclude-dir=trace || true; } | sort
}

# The same attributes with the same values.
like_c() {
	need_rust_loop
	! is_loaded || unload_driver
	load_c
	defer unload_c
	attach "${DEV}3" -o 4096 --sizelimit 1M -r "$DISK"
	sysfs_of loop3 >"$WORK/c"
	detach "${DEV}3"
	unload_c
	load_drop_in max_loop=4
	attach "${DEV}3" -o 4096 --sizelimit 1M -r "$DISK"
	sysfs_of loop3 >"$WORK/ours"
	grep -q 'loop/backing_file' "$WORK/ours" || fail "nothing read"
	diff "$WORK/c" "$WORK/ours" || fail "sysfs differs"
	detach "${DEV}3"
	unload_driver
}

# Whoever came first keeps the names.
occupied() {
	need_rust_loop
	! is_loaded || unload_driver
	load_c
	defer unload_c
	local before misc
	losetup "${DEV}0" "$DISK"
	defer 'detach_quietly "${DEV}0"'
	before=$(</proc/devices)
	misc=$(</proc/misc)
	must_fail modprobe rust_loop drop_in=1 2>"$WORK/error"
	grep -q 'busy' "$WORK/error" || fail "$(<"$WORK/error")"
	same "$(dmesg -t | grep -c '^rust_loop:')" 1 "lines in the log"
	[[ ! -e /sys/module/rust_loop ]] || fail "the module is there"
	[[ ! -e $DEBUGFS/rust_loop ]] || fail "its debugfs directory is there"
	same "$(</proc/devices)" "$before" /proc/devices
	same "$(</proc/misc)" "$misc" /proc/misc
	cmp "$DISK" "${DEV}0"
	expect "${DEV}1" losetup -f --show "$FS"
	detach "${DEV}1"
}

keeps_out() {
	need_rust_loop
	setup
	local before
	losetup "${DEV}0" "$DISK"
	before=$(</proc/devices)
	must_fail modprobe loop 2>"$WORK/error"
	[[ ! -e /sys/module/loop ]] || fail "loop.ko loaded all the same"
	same "$(</proc/devices)" "$before" /proc/devices
	[[ -c $CTL ]] || fail "no $CTL any more"
	cmp "$DISK" "${DEV}0"
	expect "${DEV}1" losetup -f --show "$FS"
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
		defer unload_c
		load_c
		attach "${DEV}0" "$DISK"
		cmp "$DISK" "${DEV}0"
		detach "${DEV}0"
		unload_c
	done
}

it "names and numbers" numbers
it "losetup -f" find_free
it "losetup -f makes a device" find_makes
it "losetup -a, -l, -j" list
it "losetup -d, -D" detach_verbs
it "losetup -c" capacity
it "losetup --direct-io" direct_io
it "losetup -L" no_overlap
it "losetup -P -f" partitions
it "mount -o loop" mount_loop
it "mount -o loop,offset=" mount_offset
it "umount -d" umount_detaches
it "busybox losetup" with_busybox
it "udev's properties and links" links
it "loop.ko cannot be loaded meanwhile" keeps_out
it "parameter" parameter
it "loop.ko is loaded already" occupied
it "sysfs is the C driver's" like_c
it "in turns with loop.ko" in_turns

run
