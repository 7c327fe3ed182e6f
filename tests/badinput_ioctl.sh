#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
#
# ioctls that make no sense, come at the wrong time, or from the wrong user.

. "$(dirname "$0")/lib.sh"

SET_STATUS64=0x4C04
GET_STATUS64=0x4C05
CONFIGURE=0x4C0A

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
	expect ENXIO loopctl status "${DEV}0"
	expect ENXIO loopctl set-status "${DEV}0"
	expect ENXIO loopctl clr-fd "${DEV}0"
	must_fail losetup -d "${DEV}0" 2>/dev/null
	must_fail dd if=/dev/zero of="${DEV}0" bs=512 count=1 oflag=direct status=none
}

bad_pointers() {
	setup
	expect EFAULT loopctl raw "${DEV}0" "$CONFIGURE" 0
	expect EFAULT loopctl raw "${DEV}0" "$CONFIGURE" 8
	expect EFAULT loopctl raw "${DEV}0" "$SET_STATUS64" 8
	expect EINVAL loopctl raw "${DEV}0" "$GET_STATUS64" 0
	expect ENXIO loopctl raw "${DEV}0" "$GET_STATUS64" 8
	attach "${DEV}0" "$WORK/image"
	expect EFAULT loopctl raw "${DEV}0" "$GET_STATUS64" 8
	expect EFAULT loopctl raw "${DEV}0" "$SET_STATUS64" 8
	expect EFAULT loopctl raw "${DEV}0" "$CONFIGURE" 8
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

unknown() {
	local request
	setup
	for request in 0x4CFF 0x4C0B 0x4C80 0x1234; do
		expect EINVAL loopctl raw "${DEV}0" "$request"
	done
}

# field NAME
field() {
	local line
	while read -r line; do
		[[ $line != "$1="* ]] || echo "${line#*=}"
	done < <(loopctl status "${DEV}0")
}

status() {
	bound -o 4096 --sizelimit 65536
	same "$(field offset)" 4096 offset
	same "$(field sizelimit)" 65536 sizelimit
	same "$(field number)" 0 number
	same "$(field flags)" 0 flags
	same "$(field name)" "$WORK/image" name
	same "$(field inode)" "$(stat -c %i "$WORK/image")" inode
	same "$(field encrypt_type)" 0 encrypt_type
	detach "${DEV}0"
	attach "${DEV}0" -r "$WORK/image"
	same "$(field flags)" 1 flags
	detach "${DEV}0"
}

set_status() {
	bound
	expect ok loopctl set-status "${DEV}0" --offset 8192 --sizelimit 131072 --name hello
	same "$(field offset)" 8192 offset
	same "$(field sizelimit)" 131072 sizelimit
	same "$(field name)" hello name
	same "$(sectors "${DEV}0")" 256 sectors
	same "$(sysfs_attr "${DEV}0" loop/offset)" 8192 loop/offset
	tail -c +8193 "$WORK/image" | head -c 131072 | cmp - "${DEV}0"
	expect ok loopctl set-status "${DEV}0" --offset 0 --sizelimit 0
	same "$(sectors "${DEV}0")" 2048 sectors
	cmp "$WORK/image" "${DEV}0"
	detach "${DEV}0"
}

# Nothing of a refused change is kept.
set_status_refused() {
	bound -o 512 --sizelimit 4096
	expect EOVERFLOW loopctl set-status "${DEV}0" --offset -1 --sizelimit 1024
	expect EOVERFLOW loopctl set-status "${DEV}0" --offset 1024 --sizelimit -1
	expect EINVAL loopctl set-status "${DEV}0" --offset 1024 --encrypt-type 1
	expect EINVAL loopctl set-status "${DEV}0" --offset 1024 --key-size 33
	same "$(field offset)" 512 offset
	same "$(field sizelimit)" 4096 sizelimit
	same "$(sectors "${DEV}0")" 8 sectors
	tail -c +513 "$WORK/image" | head -c 4096 | cmp - "${DEV}0"
	detach "${DEV}0"
}

absurd_offset() {
	bound
	expect ok loopctl set-status "${DEV}0" --offset 0x7fffffffffffffff
	same "$(sectors "${DEV}0")" 0 sectors
	same "$(wc -c <"${DEV}0")" 0 "bytes read"
	expect ok loopctl set-status "${DEV}0" --offset 512 --sizelimit 0x7fffffffffffffff
	same "$(sectors "${DEV}0")" 2047 sectors
	detach "${DEV}0"
}

# Only autoclear can be set and cleared later; the others keep their values.
set_status_flags() {
	bound -r
	exec 7<"${DEV}0"
	expect ok loopctl set-status "${DEV}0" --flags 4
	same "$(field flags)" 5 flags
	expect ok loopctl set-status "${DEV}0" --flags 0
	same "$(field flags)" 1 flags
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
		expect ok loopctl set-status "${DEV}0" --offset $((i % 2 * 512)) --sizelimit $((65536 + i * 4096))
	done
	wait "$pid"
	expect ok loopctl set-status "${DEV}0"
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
	expect EPERM without_capability "$PROGRAMS/loopctl.py" set-status "${DEV}0" --dev-mode ro --offset 512
	same "$(field offset)" 0 offset
	without_capability "$PROGRAMS/loopctl.py" status "${DEV}0" --dev-mode ro | grep -qx offset=0
	expect ok without_capability "$PROGRAMS/loopctl.py" set-status "${DEV}0" --offset 512
	same "$(field offset)" 512 offset
	# With the capability the reader may.
	expect ok loopctl set-status "${DEV}0" --dev-mode ro --offset 1024
	same "$(field offset)" 1024 offset
	detach "${DEV}0"
}

# Opened for reading only, the device can be attached, and is read-only.
read_only_handle() {
	setup
	defer 'detach_quietly "${DEV}0"'
	expect ok loopctl configure "${DEV}0" "$WORK/image" --dev-mode ro
	same "$(sysfs_attr "${DEV}0" ro)" 1 ro
	same "$(field flags)" 1 flags
	detach "${DEV}0"
}

no_access() {
	setup
	need_command setpriv
	chmod 600 "${DEV}0" "$CTL"
	expect EACCES setpriv --reuid 65534 --clear-groups "$PROGRAMS/loopctl.py" status "${DEV}0"
	expect EACCES setpriv --reuid 65534 --clear-groups "$PROGRAMS/loopctl.py" control "$CTL" get-free
}

it "unbound device" unbound
it "bad pointers" bad_pointers
it "unknown requests" unknown
it "status" status
it "set status" set_status
it "refused set status changes nothing" set_status_refused
it "absurd offsets and limits" absurd_offset
it "flags that can be changed" set_status_flags
it "set status under I/O" changed_under_io
it "without CAP_SYS_ADMIN" not_admin
it "through a read-only handle" read_only_handle
it "without access to the nodes" no_access

run
