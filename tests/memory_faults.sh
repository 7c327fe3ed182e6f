#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 128M
# kernels: debug
# leaks: no
#
# Memory is refused to everything that the driver calls, more and more often: no request
# fails for that, none hangs, and the data is right.

. "$(dirname "$0")/lib.sh"

setup() {
	ensure_driver
	mount_disk
	[[ -e $WORK/fs/image ]] || dd if=/dev/zero of="$WORK/fs/image" bs=1M count=32 \
		conv=fsync status=none
	attach "${DEV}0" --direct-io="$1" "$WORK/fs/image"
	udevadm settle
}

# faults KIND PERCENT: of the allocations made below a function of the driver.
faults() {
	local dir=$DEBUGFS/$1 start size
	[[ -e $dir/require-start ]] || skip "this kernel does not know where allocations come from"
	start=$(<"/sys/module/$DRIVER/sections/.text")
	size=$(<"/sys/module/$DRIVER/coresize")
	defer write_file "$dir/probability" 0
	echo "$start" >"$dir/require-start"
	printf '%#x\n' "$((start + size))" >"$dir/require-end"
	echo 32 >"$dir/stacktrace-depth"
	echo N >"$dir/task-filter"
	echo N >"$dir/ignore-gfp-wait"
	echo N >"$dir/ignore-gfp-highmem" 2>/dev/null || true
	echo 0 >"$dir/min-order" 2>/dev/null || true
	echo 0 >"$dir/verbose"
	echo -1 >"$dir/times"
	echo 0 >"$dir/space"
	echo 1 >"$dir/interval"
	echo "$2" >"$dir/probability"
}

no_faults() {
	echo 0 >"$DEBUGFS/$1/probability"
}

# at_limit KIND PERCENT: in a cgroup that is at its limit with page cache that can be reclaimed.
at_limit() {
	local before max
	setup off
	make_cgroup alpha
	echo 16M >"$CGROUP/alpha/memory.max"
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=64K iflag=direct status=none
	before=$([[ $DRIVER == loop ]] || summary_field "${DEV}0" errors)
	faults "$@"
	in_cgroup alpha dd if=/dev/zero of="${DEV}0" bs=64K count=128 oflag=direct conv=fsync status=none
	no_faults "$1"
	max=$(awk '$1 == "max" { print $2 }' "$CGROUP/alpha/memory.events")
	((max > 0)) || fail "the limit was not met"
	[[ $DRIVER == loop ]] || expect_equal "$(summary_field "${DEV}0" errors)" "$before" "errors"
	detach "${DEV}0"
}

# under MODE KIND PERCENT...
under() {
	local percent kind=$2
	setup "$1"
	for percent in "${@:3}"; do
		faults "$kind" "$percent"
		fio --name=f --filename="${DEV}0" --ioengine=libaio --direct=1 --iodepth=8 --rw=randwrite \
			--bsrange=4k-256k --size=4M --verify=crc32c --verify_fatal=1 \
			--verify_state_save=0 --randseed="$percent" --output="$WORK/fio" || {
			tail -n 5 "$WORK/fio"
			fail "I/O failed with $percent % of allocations failing"
		}
		# Requests that a plug has merged from many bios.
		dd if=/dev/urandom of="${DEV}0" bs=256K seek=16 count=8 conv=fsync status=none
		no_faults "$kind"
		[[ $DRIVER == loop ]] ||
			echo "$percent %: retries $(summary_field "${DEV}0" retries), deferred $(summary_field "${DEV}0" deferred)"
	done
	[[ $DRIVER == loop ]] || {
		expect_equal "$(summary_field "${DEV}0" errors)" 0 "errors"
		(($(summary_field "${DEV}0" retries) + $(summary_field "${DEV}0" deferred) > 0)) || fail "no allocation failed"
	}
	detach "${DEV}0"
}

test_case "no request fails under failslab, direct" under on failslab 5 20 50
test_case "no request fails under failslab, buffered" under off failslab 5 20 50
test_case "no request fails under fail_page_alloc, direct" under on fail_page_alloc 5 20 50
test_case "no request fails under fail_page_alloc, buffered" under off fail_page_alloc 5 20 50
test_case "no request of a cgroup at its limit fails under failslab" at_limit failslab 20
test_case "no request of a cgroup at its limit fails under fail_page_alloc" at_limit fail_page_alloc 20

run_cases
