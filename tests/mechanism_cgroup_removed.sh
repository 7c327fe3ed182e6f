#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
#
# A cgroup is removed while its I/O is in flight: the I/O ends well, and the
# cgroup's remains are let go when its worker is.

. "$(dirname "$0")/lib.sh"

# Removed cgroups whose blkcg state is still in use.
dying() {
	dying_cgroups nr_dying_subsys_io
}

dying_is() {
	[[ $(dying) == "$1" ]]
}

setup() {
	ensure_driver
	stall_new slow /dev/vdb
	attach "${DEV}0" /dev/mapper/slow
	udevadm settle
	make_cgroup alpha
}

# A process of the cgroup with I/O in flight, moved away so that the cgroup
# can be removed under it.
orphan() {
	local before pid member
	before=$(dying)
	random_file "$WORK/data" 64K
	dd if="$WORK/data" of=/dev/mapper/slow bs=64K seek=200 oflag=direct status=none
	# udev looks at what was written; what it has read must be read again.
	udevadm settle
	blockdev --flushbufs /dev/mapper/slow
	stall_begin slow
	in_cgroup alpha dd if="${DEV}0" of="$WORK/back" bs=64K count=1 skip=200 iflag=direct status=none &
	pid=$!
	wait_until 10 has_inflight "${DEV}0" || fail "no I/O in flight"
	while read -r member; do
		echo "$member" >"$CGROUP/cgroup.procs"
	done <"$CGROUP/alpha/cgroup.procs"
	rmdir "$CGROUP/alpha"
	wait_until 10 dying_is $((before + 1)) || fail "the I/O does not hold its cgroup"
	has_inflight "${DEV}0" || fail "the I/O ended while its disk was stopped"
	[[ $DRIVER == loop ]] || cat "$(workers_file "${DEV}0")"
	stall_end slow
	wait "$pid"
	cmp "$WORK/data" "$WORK/back"
}

removed() {
	setup
	orphan
	# A new cgroup of the same name is another one.
	make_cgroup alpha
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=2 iflag=direct status=none
	# The worker of the old one goes once it has nothing to do any more.
	[[ $DRIVER == loop ]] || wait_until 10 completed_by_alpha_is 2 ||
		fail "workers of /alpha have completed: $(completed_by_alpha)"
}

completed_by_alpha() {
	awk '$NF == "/alpha" { print $5 }' "$(workers_file "${DEV}0")" | sort | xargs
}

completed_by_alpha_is() {
	[[ $(completed_by_alpha) == "$1" ]]
}

released_at_once() {
	need_rust_loop
	local before
	before=$(dying)
	setup
	orphan
	wait_until 10 dying_is "$before" || fail "the removed cgroup is still held: $(dying)"
}

# A worker that is idle when its cgroup is removed, long before its time.
released_when_idle() {
	need_rust_loop
	local before
	before=$(dying)
	setup
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=2 iflag=direct status=none
	has_worker "${DEV}0" /alpha || fail "no worker"
	rmdir "$CGROUP/alpha"
	wait_until 15 has_no_worker "${DEV}0" /alpha || fail "still has a worker"
	wait_until 10 dying_is "$before" || fail "the removed cgroup is still held: $(dying)"
}

released_by_unload() {
	local before
	before=$(dying)
	setup
	orphan
	detach "${DEV}0"
	unload_driver
	wait_until 10 dying_is 0 || fail "removed cgroups still held: $(dying), $before before"
}

# Workers come and go while cgroups do.
churn() {
	ensure_driver
	truncate -s 4M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	echo "+io +memory" >"$CGROUP/cgroup.subtree_control"
	local i
	for ((i = 0; i < 25; i++)); do
		mkdir "$CGROUP/churn"
		in_cgroup churn dd if=/dev/zero of="${DEV}0" bs=4k count=4 oflag=direct status=none
		wait_until 10 rmdir "$CGROUP/churn" 2>/dev/null
	done
	detach "${DEV}0"
}

test_case "I/O of a removed cgroup ends well" removed
test_case "a removed cgroup is released when its I/O has ended" released_at_once
test_case "a removed cgroup is released by an idle worker" released_when_idle
test_case "the device works while cgroups come and go" churn
test_case "unload releases removed cgroups" released_by_unload

run_cases
