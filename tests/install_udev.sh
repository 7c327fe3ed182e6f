#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# kernels: stock
#
# The rules of udev that are installed with the module: links, types of filesystems,
# and devices without a backing file.

. "$(dirname "$0")/lib.sh"

UUID=11111111-2222-4333-8444-555555555555
PARTUUID=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee

# The installed rules end where rloopN does not match, so the driver has to be ours.
[[ $DRIVER == rust_loop ]] || skip_all "the C driver has rules of udev itself"

# The rules are those of this checkout, for this script only.
use_rules() {
	mkdir -p /run/udev/rules.d
	cp "$TESTS/../packaging/60-rust-loop.rules" /run/udev/rules.d/
	udevadm control --reload
	ensure_driver
	udevadm trigger --action=change --subsystem-match=block --sysname-match='rloop*'
	udevadm settle
}

leads_to() {
	[[ $(readlink -f "$1") == "$2" ]] || fail "$1 leads to '$(readlink -f "$1")', not to $2"
}

property() {
	udevadm info --query=property --property="$2" --value "$1"
}

no_link() {
	[[ ! -e $1 ]]
}

filesystem_links() {
	truncate -s 16M "$WORK/fs.img"
	mkfs.ext4 -q -U "$UUID" -L rustloop "$WORK/fs.img"
	attach "${DEV}0" "$WORK/fs.img"
	udevadm settle
	leads_to "/dev/disk/by-uuid/$UUID" "${DEV}0"
	leads_to /dev/disk/by-label/rustloop "${DEV}0"
	leads_to "/dev/disk/by-diskseq/$(sysfs_attr "${DEV}0" diskseq)" "${DEV}0"
	expect lsblk -dno FSTYPE "${DEV}0" = ext4
	mkdir "$WORK/mnt"
	mount "UUID=$UUID" "$WORK/mnt"
	umount "$WORK/mnt"
	detach "${DEV}0"
	udevadm settle
	wait_until 10 no_link "/dev/disk/by-uuid/$UUID" || fail "the link outlives the backing file"
}

contents_change() {
	truncate -s 16M "$WORK/new.img"
	attach "${DEV}1" "$WORK/new.img"
	udevadm settle
	expect property "${DEV}1" ID_FS_TYPE = ""
	mkfs.ext4 -q -U "$UUID" "${DEV}1"
	udevadm settle
	expect property "${DEV}1" ID_FS_TYPE = ext4
}

partition_links() {
	truncate -s 16M "$WORK/parts.img"
	printf '%s\n' 'label: gpt' "size=4M, uuid=$PARTUUID, name=first" 'size=4M' |
		sfdisk -q "$WORK/parts.img"
	attach "${DEV}2" -P "$WORK/parts.img"
	udevadm settle
	leads_to "/dev/disk/by-partuuid/$PARTUUID" "${DEV}2p1"
	leads_to /dev/disk/by-partlabel/first "${DEV}2p1"
	leads_to "/dev/disk/by-diskseq/$(sysfs_attr "${DEV}2" diskseq)-part2" "${DEV}2p2"
	expect property "${DEV}2" ID_PART_TABLE_TYPE = gpt
}

readiness() {
	truncate -s 1M "$WORK/small.img"
	udevadm settle
	expect property "${DEV}3" SYSTEMD_READY = 0
	expect property "${DEV}3" UDISKS_IGNORE = 1
	attach "${DEV}3" "$WORK/small.img"
	udevadm settle
	expect property "${DEV}3" SYSTEMD_READY = ""
	expect property "${DEV}3" UDISKS_IGNORE = ""
}

use_rules
test_case "a filesystem has its links and its type while it is attached" filesystem_links
test_case "a filesystem that is made on the device is found" contents_change
test_case "partitions have links" partition_links
test_case "a device without a backing file is not ready, and hidden from desktops" readiness
run_cases
