# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common part of the test scripts that run on the host ("# runs: on the host") and
# start guests themselves. A script sources this file, prints the number of its
# results with `plan` and each result with `result`.
#
# WORK is a directory for the script's files. It is removed when the script ends,
# unless it set KEEP. A function `at_exit`, if there is one, is called before.
#
# Environment: DRIVER=rust_loop|loop, KERNEL=stock|debug.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
DRIVER=${DRIVER:-rust_loop}
KERNEL=${KERNEL:-stock}
case $DRIVER in
rust_loop) PREFIX=rloop ;;
loop) PREFIX=loop ;;
*) echo "Bail out! unknown DRIVER=$DRIVER"; exit 1 ;;
esac
export DRIVER KERNEL PREFIX
KEEP='' RESULTS=0 FAILED=0

bail_out() {
	echo "Bail out! $*"
	exit 1
}

# plan RESULTS
plan() {
	echo "1..$1"
}

# result 0|1 TITLE: the status of what was tested.
result() {
	RESULTS=$((RESULTS + 1))
	if (($1 == 0)); then
		echo "ok $RESULTS $2"
	else
		echo "not ok $RESULTS $2"
		FAILED=1
	fi
}

# finish: exit, with 1 if a result was bad.
finish() {
	exit "$FAILED"
}

# report TEXT: a line below the results.
report() {
	echo "# $*"
}

# report_lines: the same for standard input.
report_lines() {
	sed 's/^/# /'
}

# need_number NAME...: these variables are numbers from 1.
need_number() {
	local name
	for name; do
		[[ ${!name} =~ ^[1-9][0-9]*$ ]] ||
			bail_out "$name takes a number from 1, not '${!name}'"
	done
}

now_ms() {
	echo "$((${EPOCHREALTIME/[.,]/} / 1000))"
}

host_cleanup() {
	[[ $(type -t at_exit) != function ]] || at_exit
	if [[ -n $KEEP ]]; then
		report "disks and logs are in $WORK"
	else
		rm -rf "$WORK"
	fi
}

mkdir -p "$TOP/build"
WORK=$(mktemp -d "$TOP/build/host-test.XXXXXX")
trap host_cleanup EXIT
trap 'exit 130' INT TERM HUP
echo "TAP version 13"
