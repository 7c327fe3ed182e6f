#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --icount --cpus 1 --mem 2048
# kernels: stock
# arm64: the recorded counts are those of x86-64
# leaks: no
#
# How many instructions a command takes: not more than what is recorded for this
# kernel. They are counted exactly, so a few percent are a change in the code.
#
# After a change for the better, or for another kernel, what is recorded is replaced by
# what the test tells.

. "$(dirname "$0")/lib.sh"

TABLE=$TESTS/instructions.table
MOST_PERCENT=103

recorded() {
	awk -F ' *[|] *' -v kernel="$(uname -r)" -v name="$1" \
		'$1 == kernel && $2 == name { print $3 }' "$TABLE"
}

# count [=WORKLOAD]
count() {
	env -C / BENCH_PEERS=rust_loop python3 -S "$TESTS/../bench/measure.py" instructions 1 "$@" \
		>"$WORK/counted"
}

count_all() {
	[[ $DRIVER == rust_loop ]] || skip "nothing is recorded for the C driver"
	count
	mv "$WORK/counted" "$WORK/all"
}

not_more() {
	local limit now
	[[ -s $WORK/all ]] || skip "nothing has been counted"
	now=$("$PROGRAMS/measured_ns.py" "$WORK/all" "$1")
	report "$(uname -r) | $1 | $now"
	limit=$(recorded "$1")
	[[ -n $limit ]] || skip "nothing is recorded for this kernel"
	((100 * now > MOST_PERCENT * limit)) || return 0
	# Now and then other work of the kernel adds some percent, but not twice.
	count "=$1"
	now=$("$PROGRAMS/measured_ns.py" "$WORK/counted" "$1")
	report "counted again: $now"
	((100 * now <= MOST_PERCENT * limit)) || fail "$now instructions, recorded are $limit"
}

test_case "instructions can be counted" count_all
for name in "null_blk, direct, QD32" "tmpfs read, buffered, QD16" "tmpfs write, buffered, QD16" \
	"null_blk, direct, QD32, on a busy processor" "null_blk, direct, QD32, 1 cgroups" "null_blk, direct, QD32, 1000 cgroups" \
	"attach and detach"; do
	test_case "no more instructions than recorded: $name" not_more "$name"
done

run_cases
