#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
#
# A cgroup is removed while its I/O is in flight: the I/O ends well, and the
# cgroup's remains are let go when its worker is.

. "$(dirname "$0")/lib.sh"

# Removed cgroups whose blkcg state somebody still holds.
dying() {
	awk '$1 == "nr_dying_subsys_io" { print $2 }' "$CGROUP/cgroup.stat"
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

inflight() {
	local counts
	read -ra counts <"/sys/block/${PREFIX}0/inflight"
	((counts[0] + counts[1] >= $1))
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
	wait_until 10 inflight 1 || fail "no I/O in flight"
	while read -r member; do
		echo "$member" >"$CGROUP/cgroup.procs"
	done <"$CGROUP/alpha/cgroup.procs"
	rmdir "$CGROUP/alpha"
	wait_until 10 dying_is $((before + 1)) || fail "the I/O does not hold its cgroup"
	inflight 1 || fail "the I/O ended while its disk was stopped"
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
	# The worker of the old one may still be there, under the same path.
	[[ $DRIVER == loop ]] ||
		same "$(awk '$NF == "/alpha" { print $4 }' "$(workers_file "${DEV}0")" | sort | xargs)" \
			"1 2" "completed for the old cgroup and the new one"
}

released_by_reaping() {
	need_rust_loop
	local file=/sys/module/rust_loop/parameters/idle_timeout_secs old before
	ensure_driver
	old=$(<"$file")
	defer "echo $old >$file"
	echo 2 >"$file"
	before=$(dying)
	setup
	orphan
	wait_until 25 dying_is "$before" || fail "the removed cgroup is still held: $(dying)"
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
	defer 'rm -f "$WORK/image"'
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

it "I/O of a removed cgroup ends well" removed
it "the removed cgroup is released with its worker" released_by_reaping
it "cgroups come and go" churn
it "unload releases removed cgroups" released_by_unload

run
