#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 3072 --disk 1G
# kernels: stock
# timeout: 5400 5400
# long: an hour, and figures that need a quiet machine
#
# A task that uses more memory than its cgroup may have is not slower with its swap on this
# driver than on the C driver, in either mode, whether or not the file has just been
# written. Both drivers take turns; compared are medians of three rounds. The runs of one driver
# differ by a third, so after a miss there are three more rounds.

. "$(dirname "$0")/lib.sh"

MOST_PERCENT=110
ROUNDS=3
LIMIT=100 # MiB
# For one run, in seconds: one that takes longer counts as that long.
PATIENCE=300

# once DEVICE MODE SYNC MIB: prints how long it took in milliseconds, and OOM kills.
once() {
	local start end
	mkdir "$CGROUP/swapped"
	echo "${LIMIT}M" >"$CGROUP/swapped/memory.max"
	rm -f "$WORK/fs/swap"
	sync "$WORK/fs"
	dd if=/dev/zero of="$WORK/fs/swap" bs=1M count=400 status=none ${3:+"$3"}
	losetup --direct-io="$2" "$1" "$WORK/fs/swap"
	mkswap -q "$1"
	swapon "$1"
	start=$(date +%s%N)
	in_cgroup swapped timeout "$PATIENCE" "$PROGRAMS/use_memory.py" "$4" ||
		(($? != 1)) || fail "memory came back from swap as something else"
	end=$(date +%s%N)
	echo "$(((end - start) / 1000000))" \
		"$(awk '$1 == "oom_kill" { print $2 }' "$CGROUP/swapped/memory.events")"
	swapoff "$1"
	losetup -d "$1"
	remove_cgroup swapped
}

# not_slower MODE SYNC MIB
not_slower() {
	local round ms kills ours=() theirs=() killed=(0 0)
	need_rust_loop
	need_module loop
	ensure_driver
	mount_disk
	echo "+memory" >"$CGROUP/cgroup.subtree_control"
	for ((round = 0; round < 2 * ROUNDS; round++)); do
		((round != ROUNDS)) || is_slower || break
		read -r ms kills <<<"$(once /dev/loop0 "$@")"
		theirs+=("$ms") killed[0]=$((killed[0] + kills))
		read -r ms kills <<<"$(once "${DEV}0" "$@")"
		ours+=("$ms") killed[1]=$((killed[1] + kills))
	done
	report "C driver: ${theirs[*]} ms; this one: ${ours[*]} ms; OOM kills ${killed[*]}"
	((killed[1] <= killed[0])) || fail "${killed[1]} OOM kills, C driver ${killed[0]}"
	! is_slower || fail "slower than the C driver"
}

# Compares the times of `not_slower`.
is_slower() {
	((100 * $(median "${ours[@]}") > MOST_PERCENT * $(median "${theirs[@]}")))
}

for mib in 180 300; do
	for mode in off on; do
		test_case "swap is as fast as on the C driver, $mib MiB, direct I/O $mode, file just written" not_slower "$mode" "" "$mib"
		test_case "swap is as fast as on the C driver, $mib MiB, direct I/O $mode, file synced" not_slower "$mode" conv=fsync "$mib"
	done
done

run_cases
