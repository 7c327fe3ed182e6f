# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # $results is the directory of scripts/check
#
# The results of test scripts. A script leaves four files in $results: NAME.tap
# (its output), NAME.err, NAME.dmesg (its part of the kernel log) and NAME.status
# ("EXIT-STATUS SECONDS TASKS-STARTED").

# Totals, and "SCRIPT: TITLE" of each failed result.
passed=0 failed=0 skips=0
failures=()

# settle NAME GUEST-STATUS OUT LAST: a script's .tap, .err and .status, from what
# its guest printed. LAST is the script that ran last: what ended the guest, or
# came after the script, is its own.
settle() {
	local name=$1 status=$2 out=$3 last=$4 verdict seconds tasks
	cp "$out.err" "$results/$name.err"
	sed -n "/^@begin $name\$/,/^@end $name /p" "$out.out" |
		sed '/^@begin /d; /^@end /d' >"$results/$name.tap"
	read -r verdict seconds tasks < <(sed -n "s/^@end $name //p" "$out.out")
	if [[ $name == "$last" ]]; then
		tail -n "+$from" "$out.dmesg" >"$results/$name.dmesg"
		if ((status)) && { [[ -z $verdict ]] ||
			! scripts/guest/splat-find "$out.dmesg" >/dev/null; }; then
			verdict=$status
		fi
	else
		cut_log "$name" "$from" "$out.dmesg"
	fi
	! scripts/guest/splat-find "$results/$name.dmesg" >/dev/null || verdict=125
	echo "${verdict:-125} ${seconds:-$SECONDS} ${tasks:-0}" >"$results/$name.status"
}

# cut_log NAME FROM-LINE LOG: put the part of a guest's kernel log that belongs
# to a script, up to its end mark, into its .dmesg; set from to the line after.
cut_log() {
	local end
	end=$(grep -n "tests: end $1\b" "$3" | head -n 1 | cut -d: -f1)
	sed -n "$2,${end:-\$}p" "$3" >"$results/$1.dmesg"
	from=$((${end:-0} + 1))
}

# leave_out NAME WHY: a script that is not run.
leave_out() {
	printf '1..0 # SKIP %s\n' "$2" >"$results/$1.tap"
	echo "0 0 0" >"$results/$1.status"
	account "$1"
}

is_numbered() {
	awk '/^ok / && $2 != ++n { exit 1 }' "$1"
}

# account NAME: prints a finished script's stream and adds its results to the totals.
account() {
	local name=$1 status seconds tasks tap=$results/$1.tap planned why='' title
	local ok bad skipped
	read -r status seconds tasks <"$results/$name.status"
	ok=$(grep -c '^ok ' "$tap")
	skipped=$(grep -c -i '^ok .*# SKIP' "$tap")
	bad=$(grep -c '^not ok ' "$tap")
	planned=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$tap" | tail -n 1)
	case $status in
	124) why="did not end in time" ;;
	125) why="the guest did not boot, or its kernel log shows a splat" ;;
	esac
	if ((bad == 0)) && [[ -z $why ]]; then
		if ((status != 0)); then
			why="exited with $status"
		elif ((${planned:--1} != ok)); then
			why="gave $ok results, planned ${planned:-none}"
		elif ! is_numbered "$tap"; then
			why="its results are not numbered from 1 on"
		fi
	fi
	ok=$((ok - skipped))

	echo
	echo "== $name ($seconds s, $tasks tasks started)"
	cat "$tap"
	if ((status == 0 && planned == 0)) && grep -qi '^1\.\.0 # SKIP' "$tap"; then
		skipped=1
	fi
	if [[ -n $why ]]; then
		echo "# $name: $why"
		tail -n 30 "$results/$name.err" | sed 's/^/# /'
	fi
	if ((bad)); then
		while read -r title; do
			failures+=("$name: $title")
		done < <(sed -n 's/^not ok [0-9]* *//p' "$tap")
	elif [[ -n $why ]]; then
		bad=1
		failures+=("$name: $why")
	fi
	if ((bad)); then
		echo "# see $results/$name.tap, .err and .dmesg"
	else
		rm -f "$results/$name.err"
	fi
	passed=$((passed + ok))
	failed=$((failed + bad))
	skips=$((skips + skipped))
}

# totals: what failed, one line each, and the totals as the last line.
totals() {
	((failed == 0)) || printf '# failed: %s\n' "${failures[@]}"
	echo "$passed passed, $failed failed, $skips skipped"
	((failed == 0))
}
