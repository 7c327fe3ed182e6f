#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 320M --disk 192M
# leaks: no
# timeout: 600 1200
# debug: it compares times with loop.ko
#
# A cgroup at its memory limit with nothing to reclaim: its commands fail about as soon as
# those of the C driver, with no more OOM reports. If writeback frees memory none fails.

. "$(dirname "$0")/lib.sh"

LIMIT=16
REPORT="invoked oom-killer"
# A kill, what the cgroup then has no memory for, and as much again for the writer itself.
FEW_REPORTS=4
REPORT_LINES=140
# A task that waits for the device goes when the OOM reaper has given up on it, which waits
# for 2 s first.
REAPED_MS=3000

driver_device() {
	case $1 in
	loop) echo /dev/loop0 ;;
	*) echo /dev/rloop0 ;;
	esac
}

now_ms() {
	local now=$EPOCHREALTIME
	echo "$((${now/./} / 1000))"
}

# The kernel log is followed, for what is written at one time may be more than it holds.
follow_log() {
	dmesg --follow-new >"$WORK/klog" &
	defer stop_process "$!"
	log_is_read begin
}

# log_is_read MARK: all that was logged until now is in the file.
log_is_read() {
	wait_until 20 log_has_mark "memory_limits: $1" || fail "the kernel log cannot be followed"
}

log_has_mark() {
	grep -q "$1" "$WORK/klog" || {
		echo "<6>$1" >/dev/kmsg
		nap
		grep -q "$1" "$WORK/klog"
	}
}

followed_count() {
	awk -v text="$1" 'index($0, text) { n++ } END { print n + 0 }' "$WORK/klog"
}

# When the last task was killed, by the clock of the kernel log.
killed_ms() {
	awk '/Killed process/ { gsub(/[^0-9.]/, "", $2); t = /^\[ / ? $2 : substr($1, 2) }
		END { printf "%d", t * 1000 }' "$WORK/klog"
}

has_killed() {
	(($(memory_event alpha oom_kill) > 0))
}

is_empty() {
	[[ -z $(<"$CGROUP/alpha/cgroup.procs") ]]
}

# has_ended PID: or a task of the cgroup has been killed.
has_ended() {
	local state
	! has_killed || return 0
	# A process that has been reaped has no such file.
	read -r state 2>/dev/null <"/proc/$1/stat" || return 0
	[[ $state == *") Z "* ]]
}

remove_module() {
	wait_until 10 rmmod "$1" 2>/dev/null
}

unmount_store() {
	wait_until 20 umount "$WORK/store" 2>/dev/null
}

# setup DRIVER FILESYSTEM MODE: a device over a sparse file. The cgroup is not limited yet.
setup() {
	local make=()
	modprobe "$1"
	# For the next test a new device: what is written back of the inode of an old one stays
	# charged to the cgroup that wrote to it before.
	defer remove_module "$1"
	udevadm settle
	DEVICE=$(driver_device "$1")
	mkdir -p "$WORK/store"
	case $2 in
	tmpfs) mount -t tmpfs -o size=256m none "$WORK/store" ;;
	ext4) make=(mkfs.ext4 -q -F -E "lazy_itable_init=0,lazy_journal_init=0") ;;
	xfs) make=(mkfs.xfs -q -f) ;;
	esac
	if ((${#make[@]})); then
		need_command "${make[0]}"
		"${make[@]}" /dev/vdb
		mount /dev/vdb "$WORK/store"
	fi
	defer unmount_store
	truncate -s 192M "$WORK/store/image"
	losetup --direct-io="$3" "$DEVICE" "$WORK/store/image"
	defer let_go
	udevadm settle
	make_cgroup alpha
	[[ ! -e $CGROUP/alpha/memory.swap.max ]] || echo 0 >"$CGROUP/alpha/memory.swap.max"
}

let_go() {
	is_unbound "$DEVICE" || losetup -d "$DEVICE"
	wait_until 120 is_unbound "$DEVICE" || fail "$DEVICE is bound after losetup -d"
}

limit() {
	echo "${LIMIT}M" >"$CGROUP/alpha/memory.$1"
}

# fill MIB: so much of the cgroup's memory is what cannot be reclaimed.
fill() {
	mkdir -p "$WORK/full"
	mount -t tmpfs none "$WORK/full"
	defer umount "$WORK/full"
	in_cgroup alpha dd if=/dev/zero of="$WORK/full/file" bs=1M count="$1" status=none
}

hung_tasks() {
	local timeout=/proc/sys/kernel/hung_task_timeout_secs
	[[ ! -e $timeout ]] || set_for_test "$timeout" 20
}

# The operations. What becomes of the one that runs in the cgroup is no matter.
op_write() {
	in_cgroup alpha dd if=/dev/zero of="$DEVICE" bs=1M count=64 status=none
}

op_direct_write() {
	in_cgroup alpha dd if=/dev/zero of="$DEVICE" bs=1M count=64 oflag=direct status=none
}

op_sync() {
	in_cgroup alpha dd if=/dev/zero of="$DEVICE" bs=1M count=24 conv=fsync status=none
}

op_read() {
	in_cgroup alpha dd if="$DEVICE" of=/dev/null bs=1M count=32 iflag=direct status=none
}

# Writes and flushes a little, which is killed for there is no memory.
op_flush() {
	in_cgroup alpha dd if=/dev/zero of="$DEVICE" bs=64K count=64 oflag=direct conv=fsync,notrunc \
		status=none
}

# one DRIVER FILESYSTEM KIND MODE OPERATION [swap]: TIME in ms, REPORTS and LINES in the
# kernel's log, and GONE: how many ms after the kill the cgroup is empty.
one() {
	local driver=$1 kind=$3 op=$5 start writer
	setup "$driver" "$2" "$4"
	if [[ $op == read ]]; then
		dd if=/dev/zero of="$WORK/store/image" bs=1M count=32 conv=notrunc,fsync status=none
		echo 1 >/proc/sys/vm/drop_caches
	fi
	if [[ ${6:-} == swap ]]; then
		[[ -e $CGROUP/alpha/memory.swap.max ]] || skip "this kernel limits no swap"
		mkswap -q /dev/vdc >/dev/null 2>&1
		swapon /dev/vdc
		defer swapoff /dev/vdc
		echo 32M >"$CGROUP/alpha/memory.swap.max"
	fi
	[[ $op != read && $op != flush ]] || fill "$((LIMIT - 1))"
	limit "$kind"
	hung_tasks
	follow_log
	start=$(now_ms)
	GONE=0
	"op_$op" 2>/dev/null &
	writer=$!
	wait_until 100 has_ended "$writer" || fail "$driver: neither done nor killed"
	if has_killed; then
		wait_until 100 is_empty || fail "$driver: the killed task is still there"
		GONE=$(uptime_ms)
	fi
	wait "$writer" || true
	let_go
	TIME=$(($(now_ms) - start))
	log_is_read end
	((GONE == 0)) || GONE=$((GONE - $(killed_ms)))
	REPORTS=$(followed_count "$REPORT")
	LINES=$(wc -l <"$WORK/klog")
	expect_equal "$(followed_count 'blocked for more than')" 0 "hung tasks"
	expect_equal "$(followed_count 'blocked in I/O wait')" 0 "hung tasks"
	echo "$TIME $REPORTS $LINES $GONE" >"$WORK/figures.$driver"
}

most() {
	echo "$(($1 > $2 ? $1 : $2))"
}

# drivers ARGUMENTS...: of `one`, but for the driver. Sets MISSED to what is worse than the C driver.
drivers() {
	local driver time reports lines gone loop_time loop_reports loop_lines loop_gone
	for driver in loop rust_loop; do
		(
			DEFERRED=()
			trap run_deferred EXIT
			one "$driver" "$@"
		)
	done
	read -r loop_time loop_reports loop_lines loop_gone <"$WORK/figures.loop"
	read -r time reports lines gone <"$WORK/figures.rust_loop"
	report "$time ms, $reports reports, $lines lines, gone after $gone ms;" \
		"C driver $loop_time ms, $loop_reports reports, $loop_lines lines, $loop_gone ms"
	[[ $1 != tmpfs || $2 != max ]] || ((reports > 0)) || fail "the limit was not met"
	MISSED=
	((time <= 2 * $(most "$loop_time" 3000))) || MISSED="$time ms, C driver $loop_time ms"
	((reports <= $(most "$loop_reports" "$FEW_REPORTS"))) ||
		MISSED="$reports OOM reports, C driver $loop_reports"
	((lines <= $(most "$loop_lines" "$((FEW_REPORTS * REPORT_LINES))"))) ||
		MISSED="$lines lines in the log, C driver $loop_lines"
	((gone <= $(most "$((2 * loop_gone))" "$REAPED_MS"))) ||
		MISSED="the killed task was there for $gone ms, C driver $loop_gone ms"
}

# like_loop ARGUMENTS...: which task is killed first is chance, and decides whether the OOM reaper
# waits. So what misses once is compared once more.
like_loop() {
	need_rust_loop
	need_module loop
	! is_loaded || unload_driver
	drivers "$@"
	[[ -z $MISSED ]] || drivers "$@"
	[[ -z $MISSED ]] || fail "twice: $MISSED"
}

# detached DEVICE-MODE: with a writer that is over the limit.
detached() {
	local writer
	need_rust_loop
	setup rust_loop tmpfs "$1"
	limit max
	op_write 2>/dev/null &
	writer=$!
	wait_until 30 has_killed || fail "no task was killed"
	losetup -d "$DEVICE"
	wait_until 5 is_empty || fail "the killed task is still there"
	wait "$writer" || true
	wait_until 5 is_unbound "$DEVICE" || fail "$DEVICE is bound after losetup -d"
}

is_over_high() {
	(($(memory_event alpha high) > 5))
}

# A task over memory.high is slowed down, and goes at once when it is killed.
killed_over_high() {
	local writer
	need_rust_loop
	setup rust_loop tmpfs off
	limit high
	op_write 2>/dev/null &
	writer=$!
	wait_until 30 is_over_high || fail "memory.high had no effect"
	echo 1 >"$CGROUP/alpha/cgroup.kill"
	wait_until 2 is_empty || fail "the killed task is still there"
	report "$(memory_event alpha high) times over memory.high"
	# The last close writes the device back, which over memory.high takes a minute, on the C
	# driver as well.
	echo max >"$CGROUP/alpha/memory.high"
	wait "$writer" || true
	expect_equal "$(log_count "$REPORT")" 0 "OOM reports"
}

# Dirty pages of the file can be written back, unlike those of tmpfs. The writer cannot be
# killed, so only write-back frees memory.
comes_back() {
	local before
	need_rust_loop
	setup rust_loop ext4 off
	before=$(summary_field "$DEVICE" errors)
	echo "$(<"/sys/block/$(kernel_name /dev/vdb)/dev") wbps=4000000" >"$CGROUP/alpha/io.max"
	fill "$((LIMIT - 3))"
	limit max
	in_cgroup alpha bash -c 'echo -1000 >/proc/self/oom_score_adj; exec "$@"' - \
		dd if=/dev/zero of="$DEVICE" bs=1M count=16 oflag=direct conv=fsync,notrunc status=none
	expect_equal "$(summary_field "$DEVICE" errors)" "$before" "errors"
	report "$(log_count "$REPORT") reports"
}

# The device is as good as before, for others and for the cgroup with more memory.
recovers() {
	need_rust_loop
	setup rust_loop tmpfs off
	limit max
	op_write 2>/dev/null || true
	has_killed || fail "no task was killed"
	echo 128M >"$CGROUP/alpha/memory.max"
	random_file "$WORK/data" 4M
	in_cgroup alpha dd if="$WORK/data" of="$DEVICE" bs=1M seek=100 oflag=direct status=none
	cmp "$WORK/data" <(dd if="$DEVICE" bs=1M skip=100 count=4 iflag=direct status=none)
}

test_case "writes over memory.max fail as soon as with the C driver, tmpfs" like_loop tmpfs max off write
test_case "writes over memory.max fail as soon, tmpfs, direct" when_whole like_loop tmpfs max on write
test_case "direct writes to the device over memory.max fail as soon, tmpfs" when_whole like_loop tmpfs max off direct_write
test_case "fsync over memory.max fails as soon, tmpfs" when_whole like_loop tmpfs max off sync
test_case "direct writes over memory.max fail as soon, tmpfs, with swap" when_whole like_loop tmpfs max off direct_write swap
test_case "reads over memory.max fail as soon, ext4" on_stock like_loop ext4 max off read
test_case "flushes over memory.max fail as soon, ext4" on_stock like_loop tmpfs max off flush
test_case "writes over memory.max end as soon, ext4" on_stock like_loop ext4 max off write
test_case "writes over memory.max end as soon, xfs" when_whole like_loop xfs max off write
test_case "writes over memory.high end as soon, ext4" when_whole like_loop ext4 high off write
test_case "a task that is killed over memory.high is gone at once" on_stock killed_over_high
test_case "detach waits for no writer over memory.max, buffered" detached off
test_case "detach waits for no writer over memory.max, direct" on_stock detached on
test_case "commands wait for memory that write-back frees" comes_back
test_case "the device works as before once the cgroup has more memory" on_stock recovers

run_cases
