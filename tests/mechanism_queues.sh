#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 4 --mem 1024 --disk 64M
# leaks: no
# timeout: 240 900
#
# Hardware queues: each has workers of its own, and together they behave like one.

. "$(dirname "$0")/lib.sh"
need_rust_loop

PARAMETER=/sys/module/$DRIVER/parameters/nr_hw_queues

hw_queues() {
	find "/sys/block/${PREFIX}0/mq" -mindepth 1 -maxdepth 1 -type d | wc -l
}

# number_is EXPECTED [PARAMETER...]
number_is() {
	local expected=$1
	shift
	reload_driver max_loop=1 "$@"
	expect_equal "$(hw_queues)" "$expected" "hardware queues with '$*'"
	expect_equal "$(<"$PARAMETER")" "$expected" "the parameter with '$*'"
	truncate -s 1M "$WORK/small"
	attach "${DEV}0" "$WORK/small"
	expect_equal "$(summary_field "${DEV}0" hw_queues)" "$expected" "in debugfs"
	expect_equal "$(<"/sys/block/${PREFIX}0/queue/nr_requests")" 128 "requests with '$*'"
	detach "${DEV}0"
}

numbers() {
	# The default, unless all tests run with another number.
	[[ ${DRIVER_PARAMETERS:-} == *nr_hw_queues=* ]] || number_is 4
	number_is 4 nr_hw_queues=0
	number_is 1 nr_hw_queues=1
	number_is 3 nr_hw_queues=3
	# Not more than CPUs.
	number_is 4 nr_hw_queues=100
	unload_driver
	expect_failure modprobe "$DRIVER" nr_hw_queues=-1 2>"$WORK/error"
	grep -q 'Invalid argument' "$WORK/error" || fail "$(<"$WORK/error")"
	reload_driver
}

setup() {
	ensure_driver
	truncate -s 32M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$@" "$WORK/image"
}

lines_of() {
	awk -v path="$1" '$NF == path' "$(workers_file "${DEV}0")" | wc -l
}

# reads_on CPU CGROUP COUNT
reads_on() {
	in_cgroup "$2" taskset -c "$1" dd if="${DEV}0" of=/dev/null bs=4k count="$3" \
		iflag=direct status=none
}

one_line() {
	local cpu
	setup
	make_cgroup alpha
	make_cgroup beta
	for cpu in 0 1 2 3; do
		reads_on "$cpu" alpha 10
	done
	reads_on 2 beta 7
	expect_equal "$(lines_of /alpha)" 1 "lines of alpha"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 40 "commands of alpha"
	expect_equal "$(worker_field "${DEV}0" /alpha read_kib)" 160 "KiB of alpha"
	expect_equal "$(worker_field "${DEV}0" /beta completed)" 7 "commands of beta"
	expect_equal "$(summary_field "${DEV}0" workers)" 2 "cgroups with workers"
	detach "${DEV}0"
}

freed() {
	local cpu
	setup
	defer write_file "$DEFAULT_TIMEOUT" "/sys/module/$DRIVER/parameters/idle_timeout_secs"
	echo 1 >"/sys/module/$DRIVER/parameters/idle_timeout_secs"
	make_cgroup alpha
	for cpu in 0 1 2 3; do
		reads_on "$cpu" alpha 1
	done
	has_worker "${DEV}0" /alpha || fail "no worker"
	wait_until 20 has_no_workers "${DEV}0" || fail "$(<"$(workers_file "${DEV}0")")"
	detach "${DEV}0"
}

# verified [OPTION...]: four processes, each on a CPU of its own, write and read back.
verified() {
	fio --name=verify --filename="${DEV}0" --direct=1 --ioengine=libaio --iodepth=16 --bs=4k \
		--rw=randrw --numjobs=4 --size=8M --offset_increment=8M --cpus_allowed=0-3 \
		--cpus_allowed_policy="${POLICY:-split}" --verify=crc32c --do_verify=1 --verify_fatal=1 \
		--thread --output="$WORK/fio" "$@" || {
		cat "$WORK/fio"
		return 1
	}
}

from_all() {
	setup
	verified
	detach "${DEV}0"
	setup --direct-io=on
	verified
	detach "${DEV}0"
}

# under_io COMMAND...: the command, again and again while four processes write and verify.
under_io() {
	local rounds=0
	verified --time_based --runtime=12 &
	while kill -0 $! 2>/dev/null; do
		"$@"
		rounds=$((rounds + 1))
	done
	wait $!
	report "$rounds rounds of: $*"
	((rounds > 1)) || fail "only $rounds"
}

change_settings() {
	losetup --direct-io=on "${DEV}0"
	losetup --direct-io=off "${DEV}0"
}

changed() {
	setup
	under_io change_settings
	detach "${DEV}0"
}

cpu_state() {
	echo "$1" >"/sys/devices/system/cpu/cpu$2/online"
}

all_online() {
	local cpu
	for cpu in 1 2 3; do
		cpu_state 1 "$cpu"
	done
}

hotplug_round() {
	local cpu
	for cpu in 3 2; do
		cpu_state 0 "$cpu"
	done
	for cpu in 2 3; do
		cpu_state 1 "$cpu"
	done
}

hotplug() {
	[[ -e /sys/devices/system/cpu/cpu1/online ]] || skip "the CPUs of this kernel cannot go offline"
	setup --direct-io=on
	defer all_online
	# A process cannot be bound to a CPU that is offline, so each may use all of them.
	POLICY=shared under_io hotplug_round
	detach "${DEV}0"
}

elevator_round() {
	local elevator
	for elevator in mq-deadline kyber none; do
		echo "$elevator" >"/sys/block/${PREFIX}0/queue/scheduler"
		echo 32 >"/sys/block/${PREFIX}0/queue/nr_requests"
	done
}

elevators() {
	need_module mq-deadline
	need_module kyber-iosched
	setup --direct-io=on
	under_io elevator_round
	detach "${DEV}0"
}

DEFAULT_TIMEOUT=60

test_case "a device has a hardware queue for each CPU, or as many as nr_hw_queues says" on_stock numbers
test_case "a cgroup that submits on all CPUs is one line in debugfs" one_line
test_case "the workers of all hardware queues are freed when they are idle" freed
test_case "data that is written on all CPUs at once is read back" from_all
test_case "settings change under I/O on all CPUs" changed
test_case "CPUs go offline and come back under I/O" hotplug
test_case "I/O schedulers change under I/O on all CPUs" elevators

run_cases
