#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 1G
# kernels: stock
# timeout: 1800 1800
# long: nine minutes, and figures that need a quiet machine
#
# A cgroup B is as fast beside another, A, that is held back on the same device as
# it is beside the same A held back on another device, which is the control: so what
# A costs anyway, as processor time and on the disk, is not in the comparison.
#
# Each round is a fixed number of I/Os to blocks that are not in memory, once with
# the control and once without; compared are medians. A round can be disturbed by
# what else the machine does: if three do not suffice there are more, up to a limit,
# and all of them count. The bar stays where it is.

. "$(dirname "$0")/lib.sh"

SPEED=95 LATENCY=125 # percent of the control
ROUNDS=3 ROUNDS_MAX=25
B_BLOCKS=65536
A_FIRST=$B_BLOCKS A_BLOCKS=16384

helper() {
	"$PROGRAMS/many.py" "$@"
}

# setup PREFIX [losetup options]: two devices, the second for the control.
setup() {
	local prefix=$1
	shift
	if [[ $prefix == "$PREFIX" ]]; then
		ensure_driver
	else
		need_module loop
		udevadm settle
	fi
	mount_disk
	if [[ ! -e $WORK/fs/image1 ]]; then
		helper fill "$WORK/fs/image0" $((A_FIRST + A_BLOCKS))
		helper fill "$WORK/fs/image1" "$A_BLOCKS" "$A_FIRST"
		mount_disk_again
	fi
	# An open file keeps the read-ahead that its disk has then.
	blockdev --setra 0 /dev/vdb
	attach "/dev/${prefix}0" "$@" "$WORK/fs/image0"
	attach "/dev/${prefix}1" "$@" "$WORK/fs/image1"
	udevadm settle
	make_cgroup beta
	DISK=$(<"/sys/block/vdb/dev")
	HELD=() FREEZE=
}

# hold_back PREFIX WHERE COUNT DEPTH BALLAST: cgroups that read from a device of
# their kind, WHERE is same or control, and are stopped between the rounds.
hold_back() {
	local prefix=$1 where=$2 number=0 i names=()
	[[ $where == same ]] || number=1
	for ((i = 0; i < $3; i++)); do
		make_cgroup "$where$i"
		names+=("$CGROUP/$where$i")
		HELD+=("$where$i")
	done
	setsid "$PROGRAMS/many.py" hold "/dev/$prefix$number" "$A_FIRST" "$A_BLOCKS" \
		"$4" "$5" "${names[@]}" &
	printf -v "${where}_pid" %d $!
	printf -v "${where}_device" %s "$prefix$number"
	printf -v "${where}_least" %d $(($3 * $4 / 2))
	defer stop_process "-$!" KILL
	wait_until 20 has_under_way "$prefix$number" $(($3 * $4 / 2)) ||
		fail "nothing reads from $prefix$number"
	kill -STOP -- -$!
}

under_way() {
	local counts
	read -ra counts <"/sys/block/$1/inflight"
	echo $((counts[0] + counts[1]))
}

has_under_way() {
	(($(under_way "$1") >= $2))
}

has_none_under_way() {
	(($(under_way "$1") == 0))
}

# limit RATE: bytes per second that A may read.
limit() {
	local name
	for name in "${HELD[@]}"; do
		echo "$DISK rbps=$1" >"$CGROUP/$name/io.max"
	done
}

# A gets what B leaves, and B can take all of it: by its model the disk is slower
# than it is. A RATE is of no meaning.
weigh() {
	local name model="rbps=400000000 rseqiops=1500 rrandiops=1500"
	[[ -e $CGROUP/io.cost.qos ]] || skip "the kernel has no iocost"
	model+=" wbps=400000000 wseqiops=1500 wrandiops=1500"
	echo "$DISK ctrl=user model=linear $model" >"$CGROUP/io.cost.model"
	echo "$DISK enable=1 ctrl=user min=100.00 max=100.00" >"$CGROUP/io.cost.qos"
	defer write_file "$CGROUP/io.cost.qos" "$DISK enable=0"
	for name in "${HELD[@]}"; do
		echo 1 >"$CGROUP/$name/io.weight"
	done
	echo 10000 >"$CGROUP/beta/io.weight"
}

# A is throttled, so that much is under way when it is frozen.
freeze() {
	limit "$1"
	FREEZE=1
}

freeze_a() {
	local name
	for name in "${HELD[@]}"; do
		[[ $name != "$1"* ]] || echo "$2" >"$CGROUP/$name/cgroup.freeze"
	done
}

# run_b DEVICE fio-option...: I/Os per second, and the 99th percentile of their
# latency in us. The time is for a B that is held up.
run_b() {
	local device=$1
	shift
	in_cgroup beta fio --name=b --thread --filename="$device" --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=4 --size="$((B_BLOCKS * 4))k" --runtime=20 \
		--output-format=terse --terse-version=3 "$@" |
		awk -F ';' '
			$5 != 0 { exit 1 }
			{
				for (i = 18; i <= NF; i++)
					if (sub(/^99\.000000%=/, "", $i) && $i + 0 > p99 + 0)
						p99 = $i
				print int($8 + $49), int(p99)
				found = 1
			}
			END { exit !found }'
}

# one_run PREFIX WHERE fio-option...
one_run() {
	local prefix=$1 where=$2 pid=$2_pid device=$2_device least=$2_least
	shift 2
	echo 3 >/proc/sys/vm/drop_caches
	kill -CONT -- "-${!pid}"
	wait_until 20 has_under_way "${!device}" "${!least}" || fail "A is not held back"
	[[ -z $FREEZE ]] || freeze_a "$where" 1
	run_b "/dev/${prefix}0" "$@" >>"$WORK/$where" || fail "B failed"
	[[ -z $FREEZE ]] || freeze_a "$where" 0
	# On a busy machine it may be late to ask for more.
	wait_until 10 has_under_way "${!device}" "${!least}" || fail "A was not held back to the end"
	kill -STOP -- "-${!pid}"
	wait_until 20 has_none_under_way "${!device}" || fail "what A has started does not end"
}

# median WHERE FIELD
median() {
	sort -n -k "$2,$2" "$WORK/$1" | awk -v field="$2" '
		{ value[NR] = $field }
		END { print value[int((NR + 1) / 2)] }'
}

least_and_most() {
	sort -n -k "$2,$2" "$WORK/$1" | awk -v field="$2" '
		NR == 1 { least = $field }
		END { print least "-" $field }'
}

# No number of rounds would help.
held_up() {
	(($(median same 1) * 2 < $(median control 1)))
}

isolated() {
	(($(median same 1) * 100 >= $(median control 1) * SPEED &&
	  $(median same 2) * 100 <= $(median control 2) * LATENCY))
}

# compare PREFIX WHAT fio-option...: as many rounds as it takes.
compare() {
	local prefix=$1 what=$2 round most=$ROUNDS_MAX
	shift 2
	[[ $prefix == rloop ]] || most=$ROUNDS
	rm -f "$WORK/same" "$WORK/control"
	for ((round = 1; round <= most; round++)); do
		one_run "$prefix" control "$@"
		one_run "$prefix" same "$@"
		((round < ROUNDS)) || { ! isolated && ! held_up; } || break
	done
	row "$prefix" "$what"
	[[ $prefix == loop ]] || isolated || fail "B is slower beside A, see above"
}

row() {
	local same control same99 control99
	same=$(median same 1) control=$(median control 1)
	same99=$(median same 2) control99=$(median control 2)
	[[ -e $WORK/table ]] || printf '%-9s %-28s %6s %8s %5s %7s %8s %5s  %s\n' \
		driver workload IOPS control ratio "p99 us" control ratio "rounds, IOPS from-to" \
		>"$WORK/table"
	printf '%-9s %-28s %6d %8d  %d.%02d %7d %8d  %d.%02d  %2d  %s, control %s\n' \
		"${1/#rloop/rust_loop}" "$2" "$same" "$control" \
		$((same / control)) $((same * 100 / control % 100)) "$same99" "$control99" \
		$((same99 / control99)) $((same99 * 100 / control99 % 100)) \
		"$(wc -l <"$WORK/same")" "$(least_and_most same 1)" "$(least_and_most control 1)" |
		tee -a "$WORK/table" >"$WORK/told"
}

table() {
	cat "$WORK/table" >"$WORK/told"
}

# beside PREFIX WHAT COUNT DEPTH HOW RATE DIRECT fio-option...: A is COUNT cgroups.
beside() {
	local prefix=$1 what=$2 count=$3 depth=$4 how=$5 rate=$6 direct=$7
	shift 7
	setup "$prefix" --direct-io="$direct"
	hold_back "$prefix" same "$count" "$depth" 0
	hold_back "$prefix" control "$count" "$depth" 0
	"$how" "$rate"
	compare "$prefix" "$what" "$@"
}

each() {
	local read=--rw=randread write=--rw=randwrite
	case $2 in
	0) beside "$1" "read, buffered" 1 8 limit 400000 off "$read" --number_ios=4000 ;;
	1) beside "$1" "read, direct" 1 8 limit 400000 on "$read" --number_ios=8000 ;;
	2) beside "$1" "write, buffered" 1 8 limit 400000 off "$write" --number_ios=6000 ;;
	3) beside "$1" "write, direct" 1 8 limit 400000 on "$write" --number_ios=6000 ;;
	4) beside "$1" "read, buffered, 16 A" 16 4 limit 100000 off "$read" --number_ios=4000 ;;
	5) beside "$1" "read, direct, 16 A" 16 4 limit 100000 on "$read" --number_ios=8000 ;;
	6) beside "$1" "read, buffered, A io.weight" 1 8 weigh 0 off "$read" --number_ios=4000 ;;
	7) beside "$1" "read, direct, A io.weight" 1 8 weigh 0 on "$read" --number_ios=4000 ;;
	8) beside "$1" "read, direct, A frozen" 1 8 freeze 400000 on "$read" --number_ios=8000 ;;
	9) memory_high "$1" ;;
	esac
}

# A has more memory than it may have, none of which can be taken from it: what it
# needs more, which is page cache of the backing file, it gets after long waits.
memory_high() {
	local where
	setup "$1"
	hold_back "$1" same 1 8 24
	hold_back "$1" control 1 8 24
	for where in same0 control0; do
		[[ ! -e $CGROUP/$where/memory.swap.max ]] || echo 0 >"$CGROUP/$where/memory.swap.max"
		echo 8M >"$CGROUP/$where/memory.high"
		defer write_file "$CGROUP/$where/memory.high" max
	done
	compare "$1" "read, buffered, A memory.high" --rw=randread --number_ios=4000
	for where in same0 control0; do
		(($(awk '$1 == "high" { print $2 }' "$CGROUP/$where/memory.events") > 0)) ||
			fail "memory.high had no effect"
	done
}

# What loop.ko does is for comparison, and cannot fail for being slow.
for prefix in rloop loop; do
	[[ $prefix == loop || $DRIVER == rust_loop ]] || continue
	test_case "$prefix: reads beside a throttled reader, buffered" each "$prefix" 0
	test_case "$prefix: reads beside a throttled reader, direct" each "$prefix" 1
	test_case "$prefix: writes beside a throttled reader, buffered" each "$prefix" 2
	test_case "$prefix: writes beside a throttled reader, direct" each "$prefix" 3
	test_case "$prefix: beside sixteen that are throttled, buffered" each "$prefix" 4
	test_case "$prefix: beside sixteen that are throttled, direct" each "$prefix" 5
	test_case "$prefix: beside one of little weight, buffered" each "$prefix" 6
	test_case "$prefix: beside one of little weight, direct" each "$prefix" 7
	test_case "$prefix: beside one that is frozen" each "$prefix" 8
	test_case "$prefix: beside one that waits for memory" each "$prefix" 9
done
test_case "all of them in a table" table

run_cases
