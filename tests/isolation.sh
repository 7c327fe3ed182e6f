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

# The cases. A is so many cgroups, each with so many reads in flight, and is held back
# by a function hold_HOW with this RATE in bytes per second. B does so many I/Os.
#
# name			A's cgroups, depth	how	rate	direct	B's I/O	number	title
CASE_TABLE="
read-buffered		1	8	throttle	400000	off	randread	4000	buffered reads are as fast beside a throttled reader
read-direct		1	8	throttle	400000	on	randread	8000	direct reads are as fast beside a throttled reader
write-buffered		1	8	throttle	400000	off	randwrite	6000	buffered writes are as fast beside a throttled reader
write-direct		1	8	throttle	400000	on	randwrite	6000	direct writes are as fast beside a throttled reader
read-buffered-16	16	4	throttle	100000	off	randread	4000	buffered reads are as fast beside sixteen throttled cgroups
read-direct-16		16	4	throttle	100000	on	randread	8000	direct reads are as fast beside sixteen throttled cgroups
read-buffered-weight	1	8	weight		0	off	randread	4000	buffered reads are as fast beside a cgroup of little weight
read-direct-weight	1	8	weight		0	on	randread	4000	direct reads are as fast beside a cgroup of little weight
read-direct-frozen	1	8	freeze		400000	on	randread	8000	direct reads are as fast beside a frozen cgroup
read-buffered-memory	1	8	memory		0	off	randread	4000	buffered reads are as fast beside a cgroup that waits for memory
"

# A on either side, same and control: its process group, its device, and the least
# number of requests that it has in flight while it is held back.
declare -A A_GROUP=() A_DEVICE=() A_LEAST=()

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
		"$PROGRAMS/many.py" fill "$WORK/fs/image0" $((A_FIRST + A_BLOCKS))
		"$PROGRAMS/many.py" fill "$WORK/fs/image1" "$A_BLOCKS" "$A_FIRST"
		mount_disk_again
	fi
	# An open file keeps the read-ahead that its disk has then.
	blockdev --setra 0 /dev/vdb
	attach "/dev/${prefix}0" "$@" "$WORK/fs/image0"
	attach "/dev/${prefix}1" "$@" "$WORK/fs/image1"
	udevadm settle
	make_cgroup beta
	DISK=$(<"/sys/block/$(kernel_name /dev/vdb)/dev")
	HELD=() FREEZE=
}

# start_a SIDE DEVICE COUNT DEPTH BALLAST: cgroups that read from the device, and are
# stopped between the rounds.
start_a() {
	local side=$1 i names=()
	A_DEVICE[$side]=$2
	A_LEAST[$side]=$(($3 * $4 / 2))
	for ((i = 0; i < $3; i++)); do
		make_cgroup "$side$i"
		names+=("$CGROUP/$side$i")
		HELD+=("$side$i")
	done
	setsid "$PROGRAMS/many.py" hold "$2" "$A_FIRST" "$A_BLOCKS" "$4" "$5" "${names[@]}" &
	A_GROUP[$side]=-$!
	defer stop_process "${A_GROUP[$side]}" KILL
	a_is_held_back "$side" 20 || fail "nothing reads from $2"
	kill -STOP -- "${A_GROUP[$side]}"
}

# a_is_held_back SIDE SECONDS: within that time.
a_is_held_back() {
	wait_until "$2" has_inflight "${A_DEVICE[$1]}" "${A_LEAST[$1]}"
}

# ---- how A is held back -------------------------------------------------------

hold_throttle() {
	local name
	for name in "${HELD[@]}"; do
		echo "$DISK rbps=$1" >"$CGROUP/$name/io.max"
	done
}

# A gets what B leaves, and B can take all of it: by its model the disk is slower
# than it is.
hold_weight() {
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

# A is throttled, so that much is in flight when it is frozen.
hold_freeze() {
	hold_throttle "$1"
	FREEZE=1
}

# A has more memory than it may have, none of which can be taken from it: what it
# needs more, which is page cache of the backing file, it gets after long waits.
hold_memory() {
	local name
	for name in "${HELD[@]}"; do
		[[ ! -e $CGROUP/$name/memory.swap.max ]] || echo 0 >"$CGROUP/$name/memory.swap.max"
		echo 8M >"$CGROUP/$name/memory.high"
		defer write_file "$CGROUP/$name/memory.high" max
	done
}

# freeze_a SIDE 0|1
freeze_a() {
	local name
	[[ -n $FREEZE ]] || return 0
	for name in "${HELD[@]}"; do
		[[ $name != "$1"* ]] || echo "$2" >"$CGROUP/$name/cgroup.freeze"
	done
}

# ---- one round ------------------------------------------------------------------

# run_b DEVICE I/O NUMBER: I/Os per second, and the 99th percentile of their latency
# in us. The time is for a B that is held up.
run_b() {
	local read_iops write_iops read_p99 write_p99
	in_cgroup beta fio --name=b --thread --filename="$1" --bs=4k --direct=1 --rw="$2" \
		--number_ios="$3" --ioengine=libaio --iodepth=4 --size="$((B_BLOCKS * 4))k" \
		--runtime=20 --output-format=json --output="$WORK/b.json"
	read -r read_iops write_iops read_p99 write_p99 < <("$PROGRAMS/fio_field.py" "$WORK/b.json" \
		jobs/0/read/iops jobs/0/write/iops \
		jobs/0/read/clat_ns/percentile/99.000000 jobs/0/write/clat_ns/percentile/99.000000)
	[[ -n $write_p99 ]] || return 1
	echo "$((${read_iops%.*} + ${write_iops%.*}))" \
		"$(((read_p99 > write_p99 ? read_p99 : write_p99) / 1000))"
}

# one_run SIDE DEVICE I/O NUMBER
one_run() {
	local side=$1
	shift
	echo 3 >/proc/sys/vm/drop_caches
	kill -CONT -- "${A_GROUP[$side]}"
	a_is_held_back "$side" 20 || fail "A is not held back"
	freeze_a "$side" 1
	run_b "$@" >>"$WORK/$side" || fail "B failed"
	freeze_a "$side" 0
	# On a busy machine it may be late to ask for more.
	a_is_held_back "$side" 10 || fail "A was not held back to the end"
	kill -STOP -- "${A_GROUP[$side]}"
	wait_until 20 has_none_inflight "${A_DEVICE[$side]}" || fail "what A has started does not end"
}

# ---- results ----------------------------------------------------------------------

# values SIDE IOPS|P99: of all rounds.
values() {
	local iops p99
	while read -r iops p99; do
		if [[ $2 == IOPS ]]; then
			echo "$iops"
		else
			echo "$p99"
		fi
	done <"$WORK/$1"
}

# median_of SIDE IOPS|P99
median_of() {
	# shellcheck disable=SC2046 # words
	median $(values "$1" "$2")
}

# range_of SIDE: of the I/Os per second.
range_of() {
	values "$1" IOPS | sort -n | sed -n '1p;$p' | paste -sd -
}

# No number of rounds would help.
is_held_up() {
	(($(median_of same IOPS) * 2 < $(median_of control IOPS)))
}

is_isolated() {
	(($(median_of same IOPS) * 100 >= $(median_of control IOPS) * SPEED &&
	  $(median_of same P99) * 100 <= $(median_of control P99) * LATENCY))
}

# row DRIVER NAME
row() {
	local same control same99 control99
	same=$(median_of same IOPS) control=$(median_of control IOPS)
	same99=$(median_of same P99) control99=$(median_of control P99)
	[[ -e $WORK/table ]] || printf '%-9s %-21s %6s %8s %5s %7s %8s %5s  %s\n' \
		driver case IOPS control ratio "p99 us" control ratio "rounds, IOPS from-to" \
		>"$WORK/table"
	printf '%-9s %-21s %6d %8d  %d.%02d %7d %8d  %d.%02d  %2d  %s, control %s\n' \
		"${1/#rloop/rust_loop}" "$2" "$same" "$control" \
		$((same / control)) $((same * 100 / control % 100)) "$same99" "$control99" \
		$((same99 / control99)) $((same99 * 100 / control99 % 100)) \
		"$(wc -l <"$WORK/same")" "$(range_of same)" "$(range_of control)" |
		tee -a "$WORK/table" | report_lines
}

table() {
	report_lines <"$WORK/table"
}

# compare PREFIX NAME COUNT DEPTH HOW RATE DIRECT I/O NUMBER: a line of the table, for
# one driver, in as many rounds as it takes.
compare() {
	local prefix=$1 name=$2 count=$3 depth=$4 how=$5 rate=$6 direct=$7 round most=$ROUNDS_MAX
	local ballast=0 device=/dev/${1}0 side
	[[ $how != memory ]] || ballast=24
	[[ $prefix == rloop ]] || most=$ROUNDS
	setup "$prefix" --direct-io="$direct"
	start_a same "/dev/${prefix}0" "$count" "$depth" "$ballast"
	start_a control "/dev/${prefix}1" "$count" "$depth" "$ballast"
	"hold_$how" "$rate"
	rm -f "$WORK/same" "$WORK/control"
	for ((round = 1; round <= most; round++)); do
		one_run control "$device" "$8" "$9"
		one_run same "$device" "$8" "$9"
		((round < ROUNDS)) || { ! is_isolated && ! is_held_up; } || break
	done
	row "$prefix" "$name"
	[[ $prefix == loop ]] || is_isolated || fail "B is slower beside A, see above"
	[[ $how == memory ]] || return 0
	for side in "${HELD[@]}"; do
		(($(memory_event "$side" high) > 0)) || fail "memory.high had no effect"
	done
}

# The figures of loop.ko are for comparison, and cannot fail for being slow.
for prefix in rloop loop; do
	[[ $prefix == loop || $DRIVER == rust_loop ]] || continue
	while read -r name count depth how rate direct io number title; do
		[[ -z $name ]] || test_case "$prefix: $title" \
			compare "$prefix" "$name" "$count" "$depth" "$how" "$rate" "$direct" "$io" "$number"
	done <<<"$CASE_TABLE"
done
test_case "figures of all cases in a table" table

run_cases
