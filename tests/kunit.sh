#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 1 --mem 768
# leaks: no
#
# The unit tests inside the module, which run when it is loaded.

. "$(dirname "$0")/lib.sh"

KUNIT=$DEBUGFS/kunit

suites() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver has no unit tests"
	if [[ ! -d $KUNIT ]]; then
		[[ $KERNEL == stock ]] || fail "the debug kernel has no KUnit"
		skip "this kernel has no KUnit"
	fi
	load_driver
	local results ran=0
	for results in "$KUNIT"/*/results; do
		[[ -e $results ]] || continue
		cat "$results"
		! grep -q 'not ok' "$results" || fail "$results"
		ran=$((ran + $(grep -cE '^ +ok [0-9]+' "$results" || true)))
	done
	((ran > 0)) || fail "no unit test ran"
	echo "$ran unit tests"
}

test_case "all unit tests of the module pass" suites

run_cases
