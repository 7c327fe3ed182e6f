#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768
# leaks: no
#
# Detach happens at the last close, and is then complete.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	truncate -s 8M "$WORK/image"
	defer rm -f "$WORK/image"
}

mounted() {
	setup
	mkdir -p "$WORK/mnt"
	attach "${DEV}0" "$WORK/image"
	mkfs.ext4 -q "${DEV}0"
	mount "${DEV}0" "$WORK/mnt"
	defer unmount_quietly "$WORK/mnt"
	losetup -d "${DEV}0"
	udevadm settle
	is_bound "${DEV}0" || fail "detached under a mounted filesystem"
	expect_equal "$(sysfs_attr "${DEV}0" loop/autoclear)" 1 autoclear
	random_file "$WORK/mnt/file" 1M
	sync "$WORK/mnt/file"
	checksum "$WORK/mnt/file" >"$WORK/sum"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after umount"
	expect_equal "$(sectors "${DEV}0")" 0 sectors

	# Data written before the detach have reached the file.
	attach "${DEV}0" "$WORK/image"
	mount "${DEV}0" "$WORK/mnt"
	checksum "$WORK/mnt/file" | cmp - "$WORK/sum"
	umount "$WORK/mnt"
	detach "${DEV}0"
}

# mount -o loop style: autoclear asked for at attach.
autoclear_flag() {
	setup
	mkfs.ext4 -q "$WORK/image"
	mkdir -p "$WORK/mnt"
	# The device stays open from attach to mount.
	exec 7<"${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" --flags 4 = ok
	is_bound "${DEV}0" || fail "cleared while still open"
	mount "${DEV}0" "$WORK/mnt"
	exec 7<&-
	udevadm settle
	is_bound "${DEV}0" || fail "cleared while mounted"
	umount "$WORK/mnt"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after umount"
}

open_elsewhere() {
	setup
	random_file "$WORK/image" 8M
	attach "${DEV}0" "$WORK/image"
	exec 7<>"${DEV}0"
	expect loopctl clr-fd "${DEV}0" = ok
	is_bound "${DEV}0" || fail "detached under an open handle"
	cmp -n 65536 "$WORK/image" - <&7
	# New users may come until the last one goes.
	dd if="${DEV}0" of=/dev/null bs=4k count=1 iflag=direct status=none
	is_bound "${DEV}0" || fail "detached under an open handle"
	exec 7<&-
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
}

# The only opener detaches: from then on no other open succeeds.
only_opener() {
	setup
	attach "${DEV}0" "$WORK/image"
	udevadm settle
	"$PROGRAMS/only_opener.py" "${DEV}0"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
	expect_equal "$(sectors "${DEV}0")" 0 sectors
	attach "${DEV}0" "$WORK/image"
	detach "${DEV}0"
}

# Data that the only opener has written and not synced before it detaches reach the
# file when it closes the device. The C driver fails all I/O from the detach on, and
# so loses them.
only_opener_dirty() {
	need_rust_loop
	setup
	random_file "$WORK/data" 1M
	defer rm -f "$WORK/data"
	attach "${DEV}0" "$WORK/image"
	udevadm settle
	"$PROGRAMS/write_and_detach.py" "${DEV}0" "$WORK/data"
	wait_until 10 is_unbound "${DEV}0" || fail "still bound after the last close"
	cmp -n 1048576 "$WORK/data" "$WORK/image"
}

# After a detach the device is as it was before the first attach.
as_new() {
	setup
	attach "${DEV}3" "$WORK/image"
	detach "${DEV}3"
	state "${DEV}3" >"$WORK/before"
	attach "${DEV}3" -r -o 4096 --sizelimit 65536 --sector-size 4096 "$WORK/image"
	detach "${DEV}3"
	state "${DEV}3" | diff "$WORK/before" -
	expect loopctl status "${DEV}3" = ENXIO
}

state() {
	local queue=/sys/block/${1#/dev/}/queue
	grep . "/sys/block/${1#/dev/}/size" "$queue/logical_block_size" \
		"$queue/physical_block_size" "$queue/minimum_io_size"
}

dirty_data() {
	setup
	random_file "$WORK/data" 4M
	defer rm -f "$WORK/data"
	attach "${DEV}0" "$WORK/image"
	dd if="$WORK/data" of="${DEV}0" bs=1M status=none
	detach "${DEV}0"
	cmp -n 4194304 "$WORK/data" "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	cmp -n 4194304 "$WORK/data" "${DEV}0"
	# The cache of one image must not show through another.
	detach "${DEV}0"
	truncate -s 4M "$WORK/zero"
	defer rm -f "$WORK/zero"
	attach "${DEV}0" "$WORK/zero"
	cmp -n 4194304 /dev/zero "${DEV}0"
	detach "${DEV}0"
}

test_case "detach of a mounted device waits for umount" mounted
test_case "autoclear detaches at the last close" autoclear_flag
test_case "detach waits for the last close" open_elsewhere
test_case "after a detach by the only opener the device is unbound" only_opener
test_case "data written before a detach by the only opener reach the file" only_opener_dirty
test_case "detach resets all settings" as_new
test_case "dirty data reach the file, stale data do not stay" dirty_data

run_cases
