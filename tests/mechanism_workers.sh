#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 64M
# leaks: no
#
# Each cgroup that issues I/O has a worker of its own; the root cgroup, and
# what has no cgroup, uses the rootcg queue.

. "$(dirname "$0")/lib.sh"

setup() {
	need_rust_loop
	ensure_driver
	truncate -s 16M "$WORK/image"
	defer rm -f "$WORK/image"
	attach "${DEV}0" "$WORK/image"
}

# Direct reads of 4 KiB by a process of the cgroup.
reads() {
	in_cgroup "$1" dd if="$2" of=/dev/null bs=4k count="$3" iflag=direct status=none
}

is_idle() {
	[[ $(worker_field "$1" "$2" queued) == 0 && $(worker_field "$1" "$2" running) == 0 &&
	   $(worker_field "$1" "$2" pending) == 0 ]]
}

file_format() {
	setup
	make_cgroup alpha
	reads alpha "${DEV}0" 1
	local file
	file=$(workers_file "${DEV}0")
	cat "$file"
	expect_equal "$(awk 'NR == 1 { $1 = $1; print }' "$file")" \
		"css queued running pending completed read_kib written_kib errors wait_ms run_ms idle_ms charged cgroup" \
		"header"
	awk 'NR == 2 && $1 == "rootcg" && $4 ~ /^[0-9]+$/ && $11 == "-" && $12 == "/" && $13 == "/" {
			ok = 1
		}
		END { exit !ok }' "$file" || fail "no rootcg line"
	awk '$13 == "/alpha" && $12 == "/alpha" && $1 ~ /^[0-9]+$/ && NF == 13 { ok = 1 }
		END { exit !ok }' "$file" || fail "no line for the cgroup"
	expect_equal "$(tail -n 1 "$file" | awk '{ print $1, $2 }')" "fallbacks 0" "last line"
}

counted() {
	setup
	local read written completed
	make_cgroup alpha
	udevadm settle
	read=$(summary_field "${DEV}0" read)
	written=$(summary_field "${DEV}0" written)
	completed=$(summary_field "${DEV}0" completed)
	reads alpha "${DEV}0" 8
	in_cgroup alpha dd if=/dev/zero of="${DEV}0" bs=64k count=2 oflag=direct status=none
	expect_equal "$(worker_field "${DEV}0" /alpha read_kib)" 32 "KiB read"
	expect_equal "$(worker_field "${DEV}0" /alpha written_kib)" 128 "KiB written"
	expect_equal "$(worker_field "${DEV}0" /alpha errors)" 0 errors
	# At least: udev may look into the device at any time.
	(($(summary_field "${DEV}0" read) >= read + 32768)) || fail "read: $(summary_field "${DEV}0" read)"
	(($(summary_field "${DEV}0" written) >= written + 131072)) ||
		fail "written: $(summary_field "${DEV}0" written)"
	(($(summary_field "${DEV}0" completed) >= completed + 10)) ||
		fail "completed: $(summary_field "${DEV}0" completed)"
	expect_equal "$(summary_field "${DEV}0" bound)" 1 bound
	(($(summary_field "${DEV}0" workers) >= 1)) || fail "no workers"
	(($(summary_field "${DEV}0" run_ns) > 0 && $(summary_field "${DEV}0" wait_ns) > 0)) || fail "no time passed"
	detach "${DEV}0"
	expect_equal "$(summary_field "${DEV}0" bound)" 0 "bound, after detach"
	(($(summary_field "${DEV}0" written) >= written + 131072)) || fail "forgotten with the worker"
}

worker_each() {
	setup
	make_cgroup alpha
	make_cgroup beta
	reads alpha "${DEV}0" 40
	has_worker "${DEV}0" /alpha || fail "no worker for alpha"
	has_no_worker "${DEV}0" /beta || fail "a worker for beta, which did nothing"
	reads beta "${DEV}0" 25
	cat "$(workers_file "${DEV}0")"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 40 "completed by alpha's worker"
	expect_equal "$(worker_field "${DEV}0" /beta completed)" 25 "completed by beta's worker"
	is_idle "${DEV}0" /alpha
	is_idle "${DEV}0" /beta
	expect_equal "$(fallbacks "${DEV}0")" 0 fallbacks
}

worker_reused() {
	setup
	make_cgroup alpha
	local css
	reads alpha "${DEV}0" 10
	css=$(worker_field "${DEV}0" /alpha css)
	reads alpha "${DEV}0" 10
	expect_equal "$(worker_field "${DEV}0" /alpha css)" "$css" "css"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 20 "completed"
	expect_equal "$(grep -c ' /alpha$' "$(workers_file "${DEV}0")")" 1 "lines for alpha"
}

root_queue() {
	setup
	local before lines
	udevadm settle
	before=$(worker_field "${DEV}0" / completed)
	dd if="${DEV}0" of=/dev/null bs=4k count=30 iflag=direct status=none
	lines=$(wc -l <"$(workers_file "${DEV}0")")
	# At least: udev may look into the device at any time.
	(($(worker_field "${DEV}0" / completed) >= before + 30)) || fail "not counted on the rootcg queue"
	expect_equal "$(awk '$NF == "/" && $1 != "rootcg"' "$(workers_file "${DEV}0")")" "" \
		"workers of the root cgroup"
	((lines >= 3)) || fail "header, rootcg and fallbacks expected"
}

nested() {
	setup
	make_cgroup alpha
	echo "+io" >"$CGROUP/alpha/cgroup.subtree_control"
	make_cgroup alpha/inner
	reads alpha/inner "${DEV}0" 5
	expect_equal "$(worker_field "${DEV}0" /alpha/inner completed)" 5 "completed by the inner worker"
	has_no_worker "${DEV}0" /alpha || fail "a worker for the outer cgroup"
}

per_device() {
	setup
	truncate -s 1M "$WORK/second"
	defer rm -f "$WORK/second"
	attach "${DEV}1" "$WORK/second"
	make_cgroup alpha
	reads alpha "${DEV}0" 7
	has_no_worker "${DEV}1" /alpha || fail "a worker on the other device"
	reads alpha "${DEV}1" 3
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 7 "completed on the first device"
	expect_equal "$(worker_field "${DEV}1" /alpha completed)" 3 "completed on the second device"
}

writes() {
	setup
	make_cgroup alpha
	in_cgroup alpha dd if=/dev/zero of="${DEV}0" bs=4k count=12 oflag=direct status=none
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 12 "completed"
}

many() {
	setup
	local i pids=()
	for ((i = 0; i < 20; i++)); do
		make_cgroup "many$i"
	done
	for ((i = 0; i < 20; i++)); do
		reads "many$i" "${DEV}0" 50 &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = 0; i < 20; i++)); do
		expect_equal "$(worker_field "${DEV}0" "/many$i" completed)" 50 "completed by many$i"
	done
	expect_equal "$(fallbacks "${DEV}0")" 0 fallbacks
}

# Half of the device cannot proceed. A cgroup waiting there must not keep
# another from the other half, nor the root cgroup.
blocked_apart() {
	need_rust_loop
	ensure_driver
	stall_new slow /dev/vdb
	# The quick half is a device of the C driver, which is not under test.
	local quick
	truncate -s 32M "$WORK/quick"
	defer rm -f "$WORK/quick"
	modprobe loop max_loop=1
	quick=$(losetup -f --show "$WORK/quick")
	defer losetup -d "$quick"
	dmsetup create pair <<-TABLE
		0 65536 linear /dev/mapper/slow 0
		65536 65536 linear $quick 0
	TABLE
	udevadm settle
	defer remove_mapping pair
	attach "${DEV}0" /dev/mapper/pair
	udevadm settle
	make_cgroup alpha
	make_cgroup beta
	blockdev --flushbufs /dev/mapper/pair
	stall_begin slow
	in_cgroup alpha dd if="${DEV}0" of=/dev/null bs=4k count=4 skip=100 iflag=direct status=none &
	local blocked=$!
	wait_until 10 worker_is_running "${DEV}0" /alpha || fail "alpha's read did not start"
	timeout 20 bash -c "echo \$\$ >$CGROUP/beta/cgroup.procs &&
		exec dd if=${DEV}0 of=/dev/null bs=4k count=8 skip=8200 iflag=direct status=none" ||
		fail "beta was held up"
	timeout 20 dd if="${DEV}0" of=/dev/null bs=4k count=8 skip=8300 iflag=direct status=none ||
		fail "the root cgroup was held up"
	cat "$(workers_file "${DEV}0")"
	expect_equal "$(worker_field "${DEV}0" /alpha running)" 1 "running for alpha"
	expect_equal "$(worker_field "${DEV}0" /alpha idle_ms)" - "idle_ms of a busy worker"
	stall_end slow
	wait "$blocked"
	expect_equal "$(worker_field "${DEV}0" /alpha completed)" 4 "completed by alpha's worker"
	expect_equal "$(worker_field "${DEV}0" /beta completed)" 8 "completed by beta's worker"
}

worker_is_running() {
	(($(worker_field "$1" "$2" running) > 0))
}

test_case "the workers file reads as documented" file_format
test_case "bytes, times and errors are counted, in the sum and by worker" counted
test_case "each cgroup has a worker with its own count" worker_each
test_case "the same cgroup uses the same worker again" worker_reused
test_case "the root cgroup uses the rootcg queue" root_queue
test_case "a nested cgroup has its own worker" nested
test_case "workers belong to one device" per_device
test_case "writes go through the worker too" writes
test_case "twenty cgroups at once have a worker each" many
test_case "a blocked cgroup holds up no other" blocked_apart

run_cases
