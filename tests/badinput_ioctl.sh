#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
#
# ioctls that make no sense, come at the wrong time, or from the wrong user.

. "$(dirname "$0")/lib.sh"
need_loopctl

setup() {
	ensure_driver
	[[ -e $WORK/image ]] || random_file "$WORK/image" 1M
}

bound() {
	setup
	attach "${DEV}0" "$@" "$WORK/image"
}

unbound() {
	setup
	expect loopctl status "${DEV}0" = ENXIO
	expect loopctl set-status "${DEV}0" = ENXIO
	expect loopctl clr-fd "${DEV}0" = ENXIO
	expect_failure losetup -d "${DEV}0" 2>/dev/null
	expect_failure dd if=/dev/zero of="${DEV}0" bs=512 count=1 oflag=direct status=none
}

bad_pointers() {
	setup
	expect loopctl raw "${DEV}0" LOOP_CONFIGURE 0 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_CONFIGURE 8 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_SET_STATUS64 8 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_GET_STATUS64 0 = EINVAL
	expect loopctl raw "${DEV}0" LOOP_GET_STATUS64 8 = ENXIO
	attach "${DEV}0" "$WORK/image"
	expect loopctl raw "${DEV}0" LOOP_GET_STATUS64 8 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_SET_STATUS64 8 = EFAULT
	expect loopctl raw "${DEV}0" LOOP_CONFIGURE 8 = EFAULT
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

unknown() {
	local request
	setup
	for request in 0x4CFF 0x4C0B LOOP_CTL_ADD 0x1234; do
		expect loopctl raw "${DEV}0" "$request" = EINVAL
	done
}

status() {
	bound -o 4096 --sizelimit 65536
	expect_equal "$(status_field "${DEV}0" offset)" 4096 offset
	expect_equal "$(status_field "${DEV}0" sizelimit)" 65536 sizelimit
	expect_equal "$(status_field "${DEV}0" number)" 0 number
	expect_equal "$(status_field "${DEV}0" flags)" 0 flags
	expect_equal "$(status_field "${DEV}0" name)" "$WORK/image" name
	expect_equal "$(status_field "${DEV}0" inode)" "$(stat -c %i "$WORK/image")" inode
	expect_equal "$(status_field "${DEV}0" encrypt_type)" 0 encrypt_type
	detach "${DEV}0"
	attach "${DEV}0" -r "$WORK/image"
	expect_equal "$(status_field "${DEV}0" flags)" 1 flags
	detach "${DEV}0"
}

set_status() {
	bound
	expect loopctl set-status "${DEV}0" --offset 8192 --sizelimit 131072 --name hello = ok
	expect_equal "$(status_field "${DEV}0" offset)" 8192 offset
	expect_equal "$(status_field "${DEV}0" sizelimit)" 131072 sizelimit
	expect_equal "$(status_field "${DEV}0" name)" hello name
	expect_equal "$(sectors "${DEV}0")" 256 sectors
	expect_equal "$(sysfs_attr "${DEV}0" loop/offset)" 8192 loop/offset
	tail -c +8193 "$WORK/image" | head -c 131072 | cmp - "${DEV}0"
	expect loopctl set-status "${DEV}0" --offset 0 --sizelimit 0 = ok
	expect_equal "$(sectors "${DEV}0")" 2048 sectors
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

# Nothing of a refused change is kept.
set_status_refused() {
	bound -o 512 --sizelimit 4096
	expect loopctl set-status "${DEV}0" --offset -1 --sizelimit 1024 = EOVERFLOW
	expect loopctl set-status "${DEV}0" --offset 1024 --sizelimit -1 = EOVERFLOW
	expect loopctl set-status "${DEV}0" --offset 1024 --encrypt-type 1 = EINVAL
	expect loopctl set-status "${DEV}0" --offset 1024 --key-size 33 = EINVAL
	expect_equal "$(status_field "${DEV}0" offset)" 512 offset
	expect_equal "$(status_field "${DEV}0" sizelimit)" 4096 sizelimit
	expect_equal "$(sectors "${DEV}0")" 8 sectors
	tail -c +513 "$WORK/image" | head -c 4096 | cmp - "${DEV}0"
	detach "${DEV}0"
}

absurd_offset() {
	bound
	expect loopctl set-status "${DEV}0" --offset 0x7fffffffffffffff = ok
	expect_equal "$(sectors "${DEV}0")" 0 sectors
	expect_equal "$(wc -c <"${DEV}0")" 0 "bytes read"
	expect loopctl set-status "${DEV}0" --offset 512 --sizelimit 0x7fffffffffffffff = ok
	expect_equal "$(sectors "${DEV}0")" 2047 sectors
	detach "${DEV}0"
}

# Only autoclear can be set and cleared later; the others keep their values.
set_status_flags() {
	bound -r
	exec 7<"${DEV}0"
	expect loopctl set-status "${DEV}0" --flags 4 = ok
	expect_equal "$(status_field "${DEV}0" flags)" 5 flags
	expect loopctl set-status "${DEV}0" --flags 0 = ok
	expect_equal "$(status_field "${DEV}0" flags)" 1 flags
	exec 7<&-
	is_bound "${DEV}0" || fail "cleared although autoclear was taken back"
	detach "${DEV}0"
}

changed_under_io() {
	bound
	fio --name=reader --filename="${DEV}0" --ioengine=libaio --iodepth=8 --thread \
		--direct=1 --rw=randread --bs=4k --size=64k --time_based --runtime=4 \
		--output="$WORK/fio" &
	local pid=$! i
	for ((i = 0; i < 10; i++)); do
		expect loopctl set-status "${DEV}0" --offset $((i % 2 * 512)) --sizelimit $((65536 + i * 4096)) = ok
	done
	wait "$pid"
	expect loopctl set-status "${DEV}0" = ok
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

without_capability() {
	setpriv --bounding-set -all --inh-caps -all --ambient-caps -all "$@"
}

# A reader without CAP_SYS_ADMIN may look but not change.
not_admin() {
	need_command setpriv
	bound
	expect without_capability "$PROGRAMS/loopctl.py" set-status "${DEV}0" --dev-mode ro --offset 512 = EPERM
	expect_equal "$(status_field "${DEV}0" offset)" 0 offset
	without_capability "$PROGRAMS/loopctl.py" status "${DEV}0" --dev-mode ro | grep -qx offset=0
	expect without_capability "$PROGRAMS/loopctl.py" set-status "${DEV}0" --offset 512 = ok
	expect_equal "$(status_field "${DEV}0" offset)" 512 offset
	# With the capability the reader may.
	expect loopctl set-status "${DEV}0" --dev-mode ro --offset 1024 = ok
	expect_equal "$(status_field "${DEV}0" offset)" 1024 offset
	detach "${DEV}0"
}

# Opened for reading only, the device can be attached, and is read-only.
read_only_handle() {
	setup
	defer detach_quietly "${DEV}0"
	expect loopctl configure "${DEV}0" "$WORK/image" --dev-mode ro = ok
	expect_equal "$(sysfs_attr "${DEV}0" ro)" 1 ro
	expect_equal "$(status_field "${DEV}0" flags)" 1 flags
	detach "${DEV}0"
}

no_access() {
	setup
	need_command setpriv
	chmod 600 "${DEV}0" "$CTL"
	expect setpriv --reuid 65534 --clear-groups "$PROGRAMS/loopctl.py" status "${DEV}0" = EACCES
	expect setpriv --reuid 65534 --clear-groups "$PROGRAMS/loopctl.py" control "$CTL" get-free = EACCES
}

test_case "an unbound device answers ENXIO" unbound
test_case "bad pointers are refused with EFAULT" bad_pointers
test_case "unknown requests are refused with EINVAL" unknown
test_case "LOOP_GET_STATUS64 shows the settings" status
test_case "LOOP_SET_STATUS64 changes offset, limit and name" set_status
test_case "a refused LOOP_SET_STATUS64 changes nothing" set_status_refused
test_case "offsets and limits up to 2^63 - 1 are accepted" absurd_offset
test_case "LOOP_SET_STATUS64 changes autoclear and no other flag" set_status_flags
test_case "LOOP_SET_STATUS64 works under I/O" changed_under_io
test_case "a reader without CAP_SYS_ADMIN changes nothing" not_admin
test_case "a device attached through a read-only handle is read-only" read_only_handle
test_case "a user without access to the nodes gets EACCES" no_access

run_cases
