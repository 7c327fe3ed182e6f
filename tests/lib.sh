# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Common part of the tests. A test script sources this file, writes each
# behaviour as a function, registers it with `test_case TITLE FUNCTION [ARG...]`
# and ends with `run_cases`. Each function runs in a subshell with errexit, so a
# failing command fails the case. The commands registered with `defer` run at the
# end of the case, in reverse order, whatever its result. The kernel log is
# scanned after each case.
#
# Output of a case is shown if the case fails; `report` is shown always.
#
# Assertions take what they got first and what they wanted second.
#
# Environment: DRIVER=rust_loop|loop, KERNEL=stock|debug, WHOLE=1: all cases of each script.

TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROGRAMS=$TESTS/programs
# In the selftests of a kernel everything is in one directory.
GUEST=$TESTS/../scripts/guest
[[ -d $GUEST ]] || GUEST=$TESTS/guest
DRIVER=${DRIVER:-rust_loop}
KERNEL=${KERNEL:-stock}
case $DRIVER in
rust_loop) PREFIX=rloop ;;
loop) PREFIX=loop ;;
*) echo "Bail out! unknown DRIVER=$DRIVER"; exit 1 ;;
esac
DEV=/dev/$PREFIX
CTL=/dev/$PREFIX-control
DEBUGFS=/sys/kernel/debug
CGROUP=/sys/fs/cgroup
export DRIVER KERNEL PREFIX DEV CTL

WORK=$(mktemp -d /tmp/test.XXXXXX)
CASES=() NR_CASES=0

# Starting a program is what costs time on the debug kernel, so the parts that
# every test goes through do without.
mkfifo "$WORK/nap"
exec {NAP}<>"$WORK/nap"

nap() {
	read -rt 0.05 -u "$NAP" || true
}

# ---- results --------------------------------------------------------------

# test_case TITLE FUNCTION [ARG...]
test_case() {
	CASES+=("$#" "$@")
	NR_CASES=$((NR_CASES + 1))
}

# report TEXT: a line below the result of the case.
report() {
	echo "$*" >>"$WORK/reported"
}

# report_lines: the same for standard input.
report_lines() {
	cat >>"$WORK/reported"
}

fail() {
	echo "failed: $*"
	exit 1
}

skip() {
	echo "$*" >"$WORK/skip"
	exit 4
}

# Whole script cannot run here.
skip_all() {
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	exit 0
}

need_rust_loop() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver has no such interface"
}

need_command() {
	command -v "$1" >/dev/null || skip "no $1 in this guest"
}

# on_stock CASE...: on the debug kernel another case takes the same way through the driver.
on_stock() {
	[[ $KERNEL == stock || -n ${WHOLE:-} ]] ||
		skip "another case takes the same way here; 'make check WHOLE=1' runs this one, too"
	"$@"
}

# when_whole CASE...: another case takes the same way on each kernel, and this one takes long.
when_whole() {
	[[ -n ${WHOLE:-} ]] ||
		skip "another case takes the same way; 'make check WHOLE=1' runs this one, too"
	"$@"
}

need_module() {
	modprobe -q "$1" || skip "this kernel has no $1"
}

# defer COMMAND...: run it when the case ends.
defer() {
	DEFERRED+=("$@" "$#")
}

run_deferred() {
	local rc=$? count first command
	set +e
	trap - ERR
	while ((${#DEFERRED[@]})); do
		count=${DEFERRED[-1]}
		first=$((${#DEFERRED[@]} - 1 - count))
		command=("${DEFERRED[@]:first:count}")
		DEFERRED=("${DEFERRED[@]:0:first}")
		"${command[@]}"
	done
	exit "$rc"
}

# expect COMMAND... = WANT: the command succeeds, and this is its whole output.
expect() {
	local command=("${@:1:$#-2}") want=${!#} got
	[[ ${*: -2:1} == "=" ]] || fail "not 'expect COMMAND = WANT': expect $*"
	got=$("${command[@]}") || fail "${command[*]} exited with $?"
	[[ $got == "$want" ]] || fail "${command[*]}: expected '$want', got '$got'"
}

# expect_equal GOT WANT [WHAT]
expect_equal() {
	[[ $1 == "$2" ]] || fail "${3:-values}: expected '$2', got '$1'"
}

# expect_near GOT WANT PERCENT WHAT
expect_near() {
	(($1 * 100 <= $2 * (100 + $3) && $1 * 100 >= $2 * (100 - $3))) ||
		fail "$4: $1, expected $2 within $3 %"
}

# expect_failure COMMAND...: it fails, and not by a signal.
expect_failure() {
	local rc=0
	"$@" || rc=$?
	((rc > 0 && rc < 128)) || fail "$* exited with $rc, expected a failure"
}

# expect_content DEVICE FILE: past the page cache of the device, and through it.
expect_content() {
	dd if="$1" bs=64K iflag=direct status=none | cmp - "$2"
	cmp "$2" "$1"
}

# wait_until SECONDS COMMAND...: poll where there is no event to wait for.
wait_until() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		((SECONDS <= end)) || return 1
		nap
	done
}

# ---- kernel log -----------------------------------------------------------

# The list of the guest's own scan, as one expression over a whole log. It only
# decides whether the scan itself, which also knows exceptions, must be run.
splat_expression() {
	local line start=$'(^|\n)(\\[ *[TC][0-9]+\\] *)?'
	SPLAT=
	while IFS= read -r line; do
		[[ -n $line && $line != '#'* ]] || continue
		SPLAT+=${SPLAT:+|}${line/#^/$start}
	done <"$GUEST/splat"
}

# log_splats: what went wrong since the last call, by the kernel's own words.
log_splats() {
	local log
	dmesg -t -c >"$WORK/log"
	log=$(<"$WORK/log")
	[[ $log =~ $SPLAT ]] && "$GUEST/splat-find" "$WORK/log"
}

# log_count TEXT: lines of the running test that contain it.
log_count() {
	dmesg -t | awk -v text="$1" 'index($0, text) { n++ } END { print n + 0 }'
}

# ---- running --------------------------------------------------------------

run_case() {
	local name=$1 rc why start=$SECONDS
	shift
	COUNT=$((COUNT + 1))
	rm -f "$WORK/skip" "$WORK/reported"
	echo "<6>tests: $name" >/dev/kmsg
	(
		set -eE
		DEFERRED=()
		trap run_deferred EXIT
		trap 'echo "line $LINENO in ${FUNCNAME[0]}: \"$BASH_COMMAND\" failed" >&2' ERR
		"$@"
	) >"$WORK/output" 2>&1 </dev/null
	rc=$?
	if log_splats >"$WORK/splat"; then
		sed 's/^/# /' "$WORK/output" "$WORK/splat"
		echo "not ok $COUNT $name (kernel log)"
		FAILED=1
	elif ((rc == 0)); then
		echo "ok $COUNT $name"
	elif ((rc == 4)) && [[ -e $WORK/skip ]]; then
		why=$(<"$WORK/skip")
		echo "ok $COUNT $name # SKIP $why"
	else
		sed 's/^/# /' "$WORK/output"
		echo "not ok $COUNT $name"
		FAILED=1
	fi
	[[ ! -e $WORK/reported ]] || while IFS= read -r why; do
		echo "# $why"
	done <"$WORK/reported"
	((SECONDS - start < 5)) || echo "# $((SECONDS - start)) s"
}

# Leaks stay, so the last of several scripts in one guest looks for those of all.
looks_for_leaks() {
	[[ -z ${LEAKS_LATER:-} && -w $DEBUGFS/kmemleak ]] && ! grep -q kmemleak=off /proc/cmdline
}

# kmemleak reports what it has found unreferenced in two scans, and never an
# object younger than five seconds.
no_leaks() {
	local leaks=$DEBUGFS/kmemleak
	echo scan >"$leaks"
	sleep 5
	echo scan >"$leaks"
	cat "$leaks"
	[[ ! -s $leaks ]] || ! grep -q unreferenced "$leaks" || fail "kmemleak reports leaks (of this script, or one before it in this guest)"
}

driver_unloads() {
	is_loaded || return 0
	unload_driver
}

# need_loopctl: the script calls loopctl.
need_loopctl() {
	NEEDS_LOOPCTL=1
}

run_cases() {
	local at=0
	test_case "the module unloads" driver_unloads
	! looks_for_leaks || test_case "kmemleak is silent" no_leaks
	[[ -z ${NEEDS_LOOPCTL:-} ]] || loopctl_start
	splat_expression
	dmesg -C
	echo "TAP version 13"
	echo "1..$NR_CASES"
	COUNT=0
	FAILED=0
	while ((at < ${#CASES[@]})); do
		run_case "${CASES[@]:at + 1:CASES[at]}"
		at=$((at + 1 + CASES[at]))
	done
	# It is in memory, and the next script may share it.
	rm -rf "$WORK"
	exit "$FAILED"
}

# ---- udev ------------------------------------------------------------------

# Wherever a script calls "udevadm settle", udevd's mistakes are taken care of.
udevadm() {
	if [[ $1 == settle ]]; then
		"$GUEST/settle"
	else
		command udevadm "$@"
	fi
}

# ---- the driver -----------------------------------------------------------

is_loaded() {
	[[ -d /sys/module/$DRIVER/holders ]]
}

# load_driver [PARAMETER...]: with those of the whole run before them.
load_driver() {
	local default=()
	[[ $DRIVER != rust_loop ]] || read -ra default <<<"${DRIVER_PARAMETERS:-}"
	modprobe "$DRIVER" "${default[@]}" "$@"
	udevadm settle
}

reload_driver() {
	! is_loaded || unload_driver
	load_driver "$@"
}

# For scripts whose tests share one loaded driver.
ensure_driver() {
	is_loaded || load_driver max_loop=8
}

# udev looks into a device after each change, and holds the module while it
# does so.
unload_driver() {
	udevadm settle
	wait_until 10 rmmod "$DRIVER" 2>"$WORK/rmmod" || {
		cat "$WORK/rmmod"
		return 1
	}
}

unload_c_driver() {
	[[ ! -d /sys/module/loop ]] || {
		udevadm settle
		wait_until 10 rmmod loop 2>/dev/null || fail "loop.ko does not unload"
	}
}

# One process answers for the whole script.
loopctl_start() {
	coproc LOOPCTL { "$PROGRAMS/loopctl.py" serve; }
	exec {LOOPCTL_IN}>&"${LOOPCTL[1]}" {LOOPCTL_OUT}<&"${LOOPCTL[0]}"
}

# loopctl COMMAND...: see programs/loopctl.py.
loopctl() {
	local line
	printf '%q ' "$@" >&"$LOOPCTL_IN"
	echo >&"$LOOPCTL_IN"
	while IFS= read -r -u "$LOOPCTL_OUT" line; do
		[[ $line != . ]] || return 0
		echo "$line"
	done
	return 1
}

is_bound() {
	[[ -d /sys/block/${1#/dev/}/loop ]]
}

is_unbound() {
	! is_bound "$1"
}

# attach DEVICE [losetup options] FILE; detached at the end of the test.
attach() {
	losetup "$@"
	defer detach_quietly "$1"
}

detach() {
	losetup -d "$1"
	# A detach while udev still has the device open happens at its close.
	wait_until 10 is_unbound "$1" || fail "$1 still bound after losetup -d"
}

detach_quietly() {
	is_unbound "$1" || detach "$1"
}

# The same without starting a program: see loopctl.
detach_by_ioctl() {
	expect loopctl clr-fd "$1" = ok
	wait_until 10 is_unbound "$1" || fail "$1 still bound"
}

detach_by_ioctl_quietly() {
	is_unbound "$1" || {
		loopctl clr-fd "$1"
		wait_until 10 is_unbound "$1"
	}
}

# status_field DEVICE NAME [loopctl command]: of LOOP_GET_STATUS64, or of the old status.
status_field() {
	local line
	while read -r line; do
		[[ $line != "$2="* ]] || echo "${line#*=}"
	done < <(loopctl "${3:-status}" "$1")
}

# losetup_column DEVICE NAME: of `losetup -l`.
losetup_column() {
	losetup -l -n --raw -O "$2" "$1"
}

# kernel_name DEVICE: a disk may have another name here, see scripts/guest/init.
kernel_name() {
	local path
	path=$(readlink -f "$1")
	echo "${path#/dev/}"
}

sysfs_attr() {
	local name=${1#/dev/}
	[[ ! -L $1 ]] || name=$(kernel_name "$1")
	echo "$(<"/sys/block/$name/$2")"
}

sectors() {
	sysfs_attr "$1" size
}

# inflight DEVICE: requests that the device has not completed.
inflight() {
	local counts
	read -ra counts <"/sys/block/${1#/dev/}/inflight"
	echo $((counts[0] + counts[1]))
}

# has_inflight DEVICE [LEAST]
has_inflight() {
	(($(inflight "$1") >= ${2:-1}))
}

has_none_inflight() {
	(($(inflight "$1") == 0))
}

random_file() {
	head -c "$2" /dev/urandom >"$1"
}

checksum() {
	sha256sum <"$1"
}

# Reads past the page cache of the device, in full.
device_checksum() {
	dd if="$1" bs="${2:-1M}" iflag=direct status=none | sha256sum
}

allocated_kib() {
	du -k "$1" | cut -f1
}

is_gone() {
	[[ ! -e $1 ]]
}

# median NUMBER...
median() {
	printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"
}

uptime_ms() {
	local up
	read -r up _ </proc/uptime
	echo "$((10#${up/./} * 10))"
}

# vmstat_counter NAME
vmstat_counter() {
	awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat
}

# ---- cleaning up ------------------------------------------------------------

# write_file FILE TEXT
write_file() {
	echo "$2" >"$1"
}

# set_for_test FILE VALUE: a setting of the kernel, for the rest of the test.
set_for_test() {
	defer write_file "$1" "$(<"$1")"
	echo "$2" >"$1"
}

# close_fd NUMBER
close_fd() {
	local fd=$1
	exec {fd}>&-
}

# stop_process PID [SIGNAL]
stop_process() {
	kill "-${2:-TERM}" -- "$1" 2>/dev/null
	wait "${1#-}" 2>/dev/null
}

unmount_quietly() {
	! mountpoint -q "$1" || umount "$1"
}

swapoff_quietly() {
	! grep -q "^$1 " /proc/swaps || swapoff "$1"
}

# remove_mapping NAME: of the device mapper. udev may still look into it.
remove_mapping() {
	wait_until 10 dmsetup remove "$1" 2>/dev/null
}

# ---- the disk of the guest -------------------------------------------------

# ext4 on /dev/vdb, at $WORK/fs for the rest of the test. It is made by the first
# test of a script, with nothing left for it to initialise behind our back.
mount_disk() {
	[[ -e $WORK/disk_made ]] ||
		mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/vdb
	touch "$WORK/disk_made"
	mkdir -p "$WORK/fs"
	mount /dev/vdb "$WORK/fs"
	defer umount "$WORK/fs"
}

# Nothing of it is in memory then.
mount_disk_again() {
	umount "$WORK/fs"
	mount /dev/vdb "$WORK/fs"
}

# ---- cgroups --------------------------------------------------------------

make_cgroup() {
	echo "+io +memory" >"$CGROUP/cgroup.subtree_control"
	mkdir "$CGROUP/$1"
	defer remove_cgroup "$1"
}

# The last process of a cgroup may still be on its way out.
remove_cgroup() {
	[[ ! -d $CGROUP/$1 ]] || wait_until 10 rmdir "$CGROUP/$1" 2>/dev/null
}

# in_cgroup NAME COMMAND...
in_cgroup() {
	local cgroup=$1
	shift
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$CGROUP/$cgroup" "$@"
}

# memory_event CGROUP NAME: how often it happened.
memory_event() {
	awk -v name="$2" '$1 == name { print $2 }' "$CGROUP/$1/memory.events"
}

# dying_cgroups FIELD: removed cgroups that something still refers to. FIELD is
# nr_dying_descendants, or nr_dying_subsys_io for those with blkcg state.
dying_cgroups() {
	awk -v name="$1" '$1 == name { print $2 }' "$CGROUP/cgroup.stat"
}

# dying_cgroups_at_most FIELD COUNT
dying_cgroups_at_most() {
	(($(dying_cgroups "$1") <= $2))
}

# ---- files of debugfs -------------------------------------------------------

# summary_field DEVICE NAME: a sum over all workers of a device, former ones included.
summary_field() {
	awk -v name="$2" '$1 == name { print $2 }' "$DEBUGFS/rust_loop/${1#/dev/}/summary"
}

has_no_workers() {
	(($(summary_field "$1" workers) == 0))
}

workers_file() {
	echo "$DEBUGFS/rust_loop/${1#/dev/}/workers"
}

# worker_field DEVICE CGROUP-PATH NAME; empty if there is no such worker.
worker_field() {
	awk -v path="$2" -v field="$3" '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
		$NF == path { print $column[field]; exit }
	' "$(workers_file "$1")"
}

has_worker() {
	[[ -n $(worker_field "$1" "$2" css) ]]
}

has_no_worker() {
	! has_worker "$1" "$2"
}

fallbacks() {
	awk '$1 == "fallbacks" { print $2 }' "$(workers_file "$1")"
}

# ---- a disk in memory ------------------------------------------------------

# null_disk NAME MIB [ATTRIBUTE=VALUE...]: /dev/NAME for the rest of the test.
null_disk() {
	local disk=/sys/kernel/config/nullb/$1 attribute
	need_module null_blk
	mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
	mkdir "$disk"
	defer rmdir "$disk"
	for attribute in "size=$2" memory_backed=1 "${@:3}" power=1; do
		echo "${attribute#*=}" >"$disk/${attribute%%=*}"
	done
	defer write_file "$disk/power" 0
	wait_until 10 test -b "/dev/$1"
	udevadm settle
}

# ---- a disk that can be stopped -------------------------------------------

# stall_new NAME DISK: /dev/mapper/NAME over the disk. While it is stalled
# everything sent to it stays in flight, until stall_end.
stall_new() {
	need_command dmsetup
	need_module dm-mod
	dmsetup create "$1" --table "0 $(blockdev --getsz "$2") linear $2 0"
	udevadm settle
	defer remove_mapping "$1"
}

stall_begin() {
	dmsetup suspend --noflush --nolockfs "$1"
	defer dmsetup resume "$1"
}

stall_end() {
	dmsetup resume "$1"
}

# ---- a filesystem of a user -------------------------------------------------

# fuse_new NAME STORE [option of fusefs.py...]: $WORK/NAME/file, a FUSE file with the
# contents of STORE, for the rest of the test. FUSE_PID is the server.
fuse_new() {
	local dir=$WORK/$1
	need_module fuse
	mkdir -p "$dir"
	# Other users get there.
	chmod 711 "$WORK"
	"$PROGRAMS/fusefs.py" "${@:3}" "$dir" "$2" &
	FUSE_PID=$!
	defer fuse_end "$dir" "$FUSE_PID"
	wait_until 10 fuse_is_mounted "$dir" || fail "no FUSE filesystem"
}

fuse_is_mounted() {
	grep -q "^[^ ]* $1 fuse " /proc/self/mounts
}

fuse_end() {
	kill -CONT "$2"
	wait_until 10 umount "$1"
	wait "$2"
}

# ---- uevents --------------------------------------------------------------

uevents_begin() {
	udevadm settle
	udevadm monitor --kernel --subsystem-match=block >"$WORK/uevents" 2>&1 &
	defer stop_process "$!"
	wait_until 10 grep -q 'kernel uevent' "$WORK/uevents"
}

# uevent_count DEVICE: "change" events seen so far.
uevent_count() {
	local action path count=0
	while read -r _ action path _; do
		[[ $action != change || $path != */block/${1#/dev/} ]] || count=$((count + 1))
	done <"$WORK/uevents"
	echo "$count"
}

uevents_exceed() {
	(($(uevent_count "$1") > $2))
}

# The device's events reach user space.
uevents_work() {
	local before
	before=$(uevent_count "$1")
	echo change >"/sys/block/${1#/dev/}/uevent"
	wait_until 5 uevents_exceed "$1" "$before" || fail "uevents of $1 are suppressed"
}
