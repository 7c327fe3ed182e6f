# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A deep stack of devices, past the page cache. Read in after lib.sh.

need_loopctl

LEVELS=60
[[ $KERNEL == stock ]] || LEVELS=30

# So many that to end I/O on one from within the end of I/O on the one below, and so
# on, would not fit on a stack.
deep() {
	need_rust_loop
	! is_loaded || unload_driver
	load_driver max_loop="$LEVELS"
	local i below=/dev/vdb
	for ((i = 0; i < LEVELS; i++)); do
		expect loopctl configure "${DEV}$i" "$below" --flags 16 = ok
		defer detach_by_ioctl_quietly "${DEV}$i"
		below=${DEV}$i
	done
	expect_equal "$(sysfs_attr "$below" loop/dio)" 1 "direct I/O at the top"
	random_file "$WORK/data" 256K
	dd if="$WORK/data" of="$below" bs=64K oflag=direct conv=fsync status=none
	dd if="$below" bs=4K count=64 iflag=direct status=none | cmp - "$WORK/data"
	dd if=/dev/vdb bs=64K count=4 iflag=direct status=none | cmp - "$WORK/data"
	# From the top.
	for ((i = LEVELS - 1; i >= 0; i--)); do
		detach_by_ioctl "${DEV}$i"
	done
	unload_driver
}
