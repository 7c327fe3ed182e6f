#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
# debug: oracle_random calls the same ioctls
#
# Stock losetup, mount and umount with /dev/rloopN. A device that is
# named can do everything; what searches for devices (-f, -a, -j, -D) looks only
# at /dev/loop-control and /sys/block/loop*, so it finds those of the C driver, if
# any. The user guide has the table that this asserts.

. "$(dirname "$0")/lib.sh"

# The C driver has the names that are searched for: it is tested with drop_in.
[[ $DRIVER == rust_loop ]] || skip_all "about names that the C driver does not have"

DISK=$WORK/disk
FS=$WORK/fs
truncate -s 4M "$DISK"
sfdisk -q "$DISK" <<<"start=2048, size=2048, type=83"
truncate -s 2M "$FS"
mkfs.ext4 -q -O ^has_journal "$FS"
mkdir "$WORK/mnt"

setup() {
	ensure_driver
}

attaches() {
	setup
	defer detach_quietly "${DEV}0"
	losetup "${DEV}0" "$DISK"
	cmp "$DISK" "${DEV}0"
	detach "${DEV}0"
	expect losetup --show "${DEV}0" "$DISK" = "${DEV}0"
	detach "${DEV}0"
	# A name is looked for in /dev.
	losetup rloop0 "$DISK"
	is_bound "${DEV}0" || fail "not attached by its short name"
	losetup -d rloop0
	wait_until 10 is_unbound "${DEV}0"
}

# Several at once.
detaches() {
	setup
	attach "${DEV}0" "$DISK"
	attach "${DEV}1" "$FS"
	losetup -d "${DEV}0" "${DEV}1"
	wait_until 10 is_unbound "${DEV}0"
	wait_until 10 is_unbound "${DEV}1"
	expect_failure losetup -d "${DEV}0" 2>/dev/null
}

options() {
	setup
	attach "${DEV}0" -r -o 4096 --sizelimit 1M -b 1024 -P --loop-ref name "$DISK"
	expect_equal "$(losetup_column "${DEV}0" NAME,RO,OFFSET,SIZELIMIT,LOG-SEC,PARTSCAN,REF)" \
		"${DEV}0 1 4096 1048576 1024 1 name" "columns"
	detach "${DEV}0"
}

lists_named() {
	setup
	attach "${DEV}0" "$DISK"
	expect_equal "$(losetup "${DEV}0" | sed 's/ .* / /')" "${DEV}0: ($DISK)" "losetup DEVICE"
	expect_equal "$(losetup_column "${DEV}0" NAME,BACK-FILE)" "${DEV}0 $DISK" "losetup -l DEVICE"
	losetup -J -l "${DEV}0" | grep -q "\"back-file\": *\"$DISK\"" || fail "losetup -J"
	detach "${DEV}0"
	expect_failure losetup "${DEV}0" 2>/dev/null
}

capacity() {
	setup
	truncate -s 1M "$WORK/growing"
	defer rm -f "$WORK/growing"
	attach "${DEV}0" "$WORK/growing"
	truncate -s 2M "$WORK/growing"
	losetup -c "${DEV}0"
	expect_equal "$(sectors "${DEV}0")" 4096 "sectors after losetup -c"
	detach "${DEV}0"
}

direct_io() {
	setup
	attach "${DEV}0" --direct-io=on "$DISK"
	expect_equal "$(losetup_column "${DEV}0" DIO)" 1 DIO
	losetup --direct-io=off "${DEV}0"
	expect_equal "$(losetup_column "${DEV}0" DIO)" 0 DIO
	losetup --direct-io=on "${DEV}0"
	expect_equal "$(losetup_column "${DEV}0" DIO)" 1 DIO
	detach "${DEV}0"
}

scans() {
	setup
	attach "${DEV}0" -P "$DISK"
	wait_until 10 test -b "${DEV}0p1" || fail "no partition"
	detach "${DEV}0"
	# They go after the directory "loop", by which a device is known to be bound.
	wait_until 10 test ! -e /sys/block/rloop0/rloop0p1 || fail "partition left behind"
}

# Without a driver of /dev/loopN around. What names a device that does not exist,
# or shows nothing, ends with success: that is losetup's.
search_alone() {
	setup
	[[ ! -d /sys/module/loop ]] || rmmod loop
	attach "${DEV}0" "$DISK"
	expect losetup -f = /dev/loop0
	expect_failure losetup -f "$FS" 2>/dev/null
	expect_failure losetup -f --show "$FS" 2>/dev/null
	expect losetup -a = ""
	expect losetup -l = ""
	expect losetup -j "$DISK" = ""
	expect losetup -D = ""
	udevadm settle
	is_bound "${DEV}0" || fail "losetup -D found ${DEV}0"
	is_unbound "${DEV}1" || fail "losetup -f found ${DEV}1"
	# A device of the same file is not seen.
	attach "${DEV}1" -L "$DISK"
	detach "${DEV}1"
	detach "${DEV}0"
}

# With the C driver loaded, it is that one's devices that are found.
search_beside() {
	setup
	need_module loop
	defer unload_c_driver
	defer losetup -D
	udevadm settle
	attach "${DEV}0" "$DISK"
	expect losetup -f = /dev/loop0
	expect losetup -f --show "$FS" = /dev/loop0
	expect losetup -l -n --raw -O NAME,BACK-FILE = "/dev/loop0 $FS"
	expect_equal "$(losetup -a | sed 's/ .* / /')" "/dev/loop0: ($FS)" "losetup -a"
	expect losetup -j "$DISK" = ""
	losetup -D
	wait_until 10 is_unbound /dev/loop0
	is_bound "${DEV}0" || fail "losetup -D found ${DEV}0"
	detach "${DEV}0"
}

mounts_device() {
	setup
	attach "${DEV}0" "$FS"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	[[ -d $WORK/mnt/lost+found ]] || fail "nothing mounted"
	# umount knows loop devices by their major number.
	umount -d "$WORK/mnt"
	udevadm settle
	is_bound "${DEV}0" || fail "umount -d detached: say so in the user guide"
	detach "${DEV}0"
}

# mount -o loop searches for a device, mount -o loop=DEVICE does not.
mounts_file() {
	setup
	[[ ! -d /sys/module/loop ]] || rmmod loop
	defer detach_quietly "${DEV}0"
	defer unmount_quietly "$WORK/mnt"
	expect_failure mount -o loop "$FS" "$WORK/mnt" 2>/dev/null
	is_unbound "${DEV}0" || fail "mount -o loop found ${DEV}0"
	mount -o "loop=${DEV}0" "$FS" "$WORK/mnt"
	expect_equal "$(sysfs_attr "${DEV}0" loop/autoclear)" 1 autoclear
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "the device outlives its mount"
}

# udev's rules probe devices whose names they know, so there are neither links by
# what is on a device nor by its backing file.
links() {
	setup
	attach "${DEV}0" "$FS"
	udevadm settle
	expect_equal "$(find /dev/disk -lname '*/rloop*')" "" "links to ${DEV}0: say so in the user guide"
	expect_equal "$(lsblk -n -o FSTYPE "${DEV}0")" "" "what udev says is on ${DEV}0"
	expect blkid -p -s TYPE -o value "${DEV}0" = ext4
	detach "${DEV}0"
}

test_case "losetup DEVICE FILE and --show attach" attaches
test_case "losetup -d DEVICE... detaches" detaches
test_case "losetup -r -o --sizelimit -b -P --loop-ref are set" options
test_case "losetup DEVICE, -l DEVICE and -J list the device" lists_named
test_case "losetup -c DEVICE takes the new size" capacity
test_case "losetup --direct-io DEVICE switches the mode" direct_io
test_case "losetup -P DEVICE shows partitions" scans
test_case "losetup -f, -a, -j, -D and -L see no device of this driver" search_alone
test_case "losetup -f, -a, -j and -D see the devices of loop.ko only" search_beside
test_case "mount DEVICE works, and umount -d does not detach" mounts_device
test_case "mount -o loop=DEVICE attaches, mount -o loop finds no device" mounts_file
test_case "udev does not look into the device" links

run_cases
