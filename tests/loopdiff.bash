# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common part of the oracle_* tests: both drivers in one guest, and the program
# that compares them (loopdiff/). WORD_SIZE=32 chooses the 32-bit one.

# shellcheck source=tests/lib.sh
. "$TESTS/lib.sh"

[[ $DRIVER == rust_loop ]] || skip_all "it compares both drivers"

LOOPDIFF=$TESTS/../build/tests
[[ $HOSTTYPE != aarch64 ]] || LOOPDIFF+=-aarch64
LOOPDIFF+=/loopdiff${WORD_SIZE:-}
export TABLE=$TESTS/loopdiff.table STATES=$TESTS/loopdiff.states

UDEV='systemd-udevd|\(udev-worker\)'

# udev would open devices behind the back of the program. Asked to exit, it takes
# its time, and once in a while for ever; it has nothing left to lose.
stop_udev() {
	udevadm settle
	pkill -KILL -x "$UDEV" || true
	wait_until 60 udev_is_gone || {
		pgrep -a -x "$UDEV"
		fail "udev does not end"
	}
}

udev_is_gone() {
	! pgrep -x -r R,S,D,T "$UDEV" >/dev/null
}

# Nothing is written by itself at a time that only one driver sees, and less time
# is spent on waiting for grace periods.
quiet_kernel() {
	local rcu=/sys/module/rcutree/parameters
	echo 0 >/proc/sys/vm/dirty_writeback_centisecs
	echo 0 >"$rcu/jiffies_till_first_fqs"
	echo 1 >"$rcu/jiffies_till_next_fqs"
}

# compare DIRECTORY ARGUMENT...: what loopdiff finds different is in the output.
compare() {
	[[ -x $LOOPDIFF ]] || fail "$LOOPDIFF has not been built (scripts/check does it)"
	stop_udev
	quiet_kernel
	[[ -d /sys/module/loop ]] || modprobe loop max_loop=4
	is_loaded || modprobe rust_loop max_loop=4
	mkdir -p "$1"
	WORKDIR=$1 "$LOOPDIFF" "${@:2}"
}

# Both drivers, or what one remembers of the script before is a difference.
c_driver_unloads() {
	rmmod loop
}

on_tmpfs() {
	compare "$WORK/images" "$@"
}

# on_ext4 ARGUMENT...
on_ext4() {
	[[ -b /dev/vdb ]] || skip "no disk"
	mkfs.ext4 -q /dev/vdb
	mkdir -p "$WORK/ext4"
	mount /dev/vdb "$WORK/ext4"
	defer umount "$WORK/ext4"
	compare "$WORK/ext4" "$@"
}
