#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 768 --disk 64M
# leaks: no
#
# Idle workers are freed after idle_timeout_secs, and not before.

. "$(dirname "$0")/lib.sh"

setup() {
	need_rust_loop
	ensure_driver
	set_for_test /sys/module/rust_loop/parameters/idle_timeout_secs "$1"
	truncate -s 4M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
	make_cgroup alpha
	make_cgroup beta
}

reads() {
	in_cgroup "$1" dd if="${DEV}0" of=/dev/null bs=4k count=4 iflag=direct status=none
}

# The timer is deferrable: polling keeps a CPU awake, but not for ever.
gone() {
	wait_until "$1" has_no_worker "${DEV}0" "$2"
}

not_before() {
	setup 4
	local start end
	start=$(uptime_ms)
	reads alpha
	gone 20 /alpha || fail "still there 20 s after its last I/O"
	end=$(uptime_ms)
	echo "gone after $((end - start)) ms"
	((end - start >= 4000)) || fail "freed after only $((end - start)) ms"
	# It comes back when it is needed.
	reads alpha
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 4 "completed by the new worker"
}

# One process that reads now and then, for more than twice the timeout: starting
# one for each read can take longer than the timeout. Prints how often it read. On one CPU,
# so that it always uses the worker of the same hardware queue.
reads_for_a_while() {
	in_cgroup alpha taskset -c 0 "$PROGRAMS/read_now_and_then.py" "${DEV}0"
}

kept_while_used() {
	setup 4
	local count
	reads beta
	count=$(reads_for_a_while)
	((count > 4)) || fail "only $count reads in 9 s"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" "$count" "completed by the worker that was used"
	gone 10 /beta || fail "the idle worker was kept beside a busy one"
}

idle_time_grows() {
	setup 60
	local first second
	reads alpha
	wait_until 5 is_idle
	first=$(worker_field "${DEV}0" /alpha idle_ms)
	wait_until 5 idle_longer_than $((first + 500)) || fail "idle_ms does not grow"
	second=$(worker_field "${DEV}0" /alpha idle_ms)
	((second < 60000)) || fail "idle_ms is $second"
	reads alpha
	(($(worker_field "${DEV}0" /alpha idle_ms) < second)) || fail "idle_ms does not begin again"
}

is_idle() {
	[[ $(worker_field "${DEV}0" /alpha idle_ms) != - ]]
}

idle_longer_than() {
	(($(worker_field "${DEV}0" /alpha idle_ms) > $1))
}

# A detached device keeps nothing running; workers of the next user are new.
detached() {
	setup 2
	reads alpha
	detach "${DEV}0"
	attach "${DEV}0" "$WORK/image"
	reads beta
	gone 20 /alpha || fail "worker of the last user still there"
	gone 20 /beta || fail "worker still there"
}

# Direct I/O that takes longer than the timeout. When it ends no worker is busy, none is
# idle, and no more I/O comes.
slow_io() {
	setup 3
	stall_new slow /dev/vdb
	attach "${DEV}1" --direct-io=on /dev/mapper/slow
	udevadm settle
	local reader
	in_cgroup beta dd if="${DEV}1" of=/dev/null bs=4k count=1 iflag=direct status=none
	stall_begin slow
	in_cgroup alpha dd if="${DEV}1" of=/dev/null bs=4k count=1 iflag=direct status=none &
	reader=$!
	wait_until 10 is_pending || fail "the read is not in the file's hands"
	# The workers were looked at when that one went.
	wait_until 20 has_no_worker "${DEV}1" /beta || fail "the idle worker was kept"
	is_pending || fail "the read ended while its disk was stopped"
	stall_end slow
	wait "$reader"
	wait_until 20 has_no_worker "${DEV}1" /alpha || fail "still there 20 s after its last I/O"
}

is_pending() {
	[[ $(worker_field "${DEV}1" /alpha pending) == 1 ]]
}

# Unloading frees what the timer has not.
unload_with_idle_workers() {
	setup 3600
	reads alpha
	reads beta
	detach "${DEV}0"
	unload_driver
}

test_case "an idle worker is freed after the timeout and not before" not_before
test_case "a worker in use is kept, an idle one beside it is freed" on_stock kept_while_used
test_case "the workers file shows the idle time" idle_time_grows
test_case "workers of an earlier attach are freed" detached
test_case "a worker is freed after I/O that outlasts the timeout" on_stock slow_io
test_case "unload frees idle workers" unload_with_idle_workers

run_cases
