# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A deep stack of devices, past the page cache. Read in after lib.sh.

# What calls it is not in the script itself.
# shellcheck disable=SC2034 # lib.sh reads it
NEED_LOOPCTL=1
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
		expect ok loopctl configure "${DEV}$i" "$below" --flags 16
		defer "clear_quietly ${DEV}$i"
		below=${DEV}$i
	done
	same "$(sysfs_attr "$below" loop/dio)" 1 "direct I/O at the top"
	random_file "$WORK/data" 256K
	dd if="$WORK/data" of="$below" bs=64K oflag=direct conv=fsync status=none
	dd if="$below" bs=4K count=64 iflag=direct status=none | cmp - "$WORK/data"
	dd if=/dev/vdb bs=64K count=4 iflag=direct status=none | cmp - "$WORK/data"
	# From the top.
	for ((i = LEVELS - 1; i >= 0; i--)); do
		clear "${DEV}$i"
	done
	unload_driver
}
