#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 2048 --disk 256M
# kernels: debug
# leaks: no
#
# The order of the locks, as lockdep has seen it. The first test takes every edge that there
# is; the others compare the graph with Documentation/design.md.

. "$(dirname "$0")/lib.sh"
need_loopctl

removed() {
	[[ $(loopctl control "$CTL" remove "$1") == 0 ]]
}

CGROUPS=40

every_edge() {
	local nr
	load_driver max_loop=4
	truncate -s 16M "$WORK/a" "$WORK/b"
	mkfs.ext4 -q "$WORK/a"
	cp "$WORK/a" "$WORK/copy"
	mkdir -p "$WORK/mnt"
	# A stack, with a filesystem on it.
	attach "${DEV}0" "$WORK/a"
	attach "${DEV}1" "${DEV}0"
	mount "${DEV}1" "$WORK/mnt"
	dd if=/dev/zero of="$WORK/mnt/x" bs=64K count=20 conv=fsync status=none
	umount "$WORK/mnt"
	detach "${DEV}1"
	detach "${DEV}0"
	# Another file for a device that is mounted, by a loop device as well.
	attach -r -P "${DEV}0" "$WORK/a"
	attach -r "${DEV}1" "$WORK/copy"
	mount -o ro "${DEV}0" "$WORK/mnt"
	"$PROGRAMS/settings.py" "${DEV}0" "change-fd=$WORK/copy" "change-fd=${DEV}1" "change-fd=$WORK/copy"
	umount "$WORK/mnt"
	cat "/sys/block/${PREFIX}0/loop/"* "$DEBUGFS/rust_loop/${PREFIX}0/"* >/dev/null
	detach "${DEV}1"
	detach "${DEV}0"
	# Settings, with a partition that has something to be written.
	attach -P "${DEV}0" "$WORK/b"
	sfdisk -q "${DEV}0" <<<"start=2048, size=4096"
	wait_until 10 test -b "${DEV}0p1" || fail "no partition"
	dd if=/dev/zero of="${DEV}0p1" bs=4K count=10 status=none
	"$PROGRAMS/settings.py" "${DEV}0" offset=4096 offset=0 block-size=4096 block-size=512 capacity= \
		direct-io=1 direct-io=0
	detach "${DEV}0"
	# Direct I/O to a filesystem, switched on and off, in a cgroup.
	mount_disk
	truncate -s 16M "$WORK/fs/file"
	attach --direct-io=on "${DEV}0" "$WORK/fs/file"
	make_cgroup edges
	in_cgroup edges dd if=/dev/urandom of="${DEV}0" bs=64K count=50 oflag=direct status=none
	"$PROGRAMS/settings.py" "${DEV}0" direct-io=0 direct-io=1
	in_cgroup edges dd if="${DEV}0" of=/dev/null bs=64K status=none
	# More workers than fit into the memory that the allocator has at hand on a CPU.
	echo "+io" >"$CGROUP/edges/cgroup.subtree_control"
	for ((nr = 0; nr < CGROUPS; nr++)); do
		make_cgroup "edges/$nr"
		in_cgroup "edges/$nr" dd if="${DEV}0" of=/dev/null bs=4K count=1 iflag=direct status=none
	done
	((nr < $(wc -l <"$DEBUGFS/rust_loop/${PREFIX}0/workers"))) || fail "not each cgroup has a worker"
	detach "${DEV}0"
	# Devices come and go, one because its node is opened.
	expect loopctl control "$CTL" add 77 = 77
	# udev looks into a new device.
	wait_until 30 removed 77 || fail "77 stays in use"
	expect loopctl control "$CTL" get-free = 0
	mknod "$WORK/node" b "$(sed -n "s/ $PREFIX\$//p" /proc/devices | tr -d ' ')" 78
	head -c 1 "$WORK/node" >/dev/null 2>&1 || true
	udevadm settle
}

# under LOCK: the classes that have been taken directly under it, a line each.
under() {
	awk -v lock="$1" '
		/^ -> / { if (found) { sub(/^ -> \[[0-9a-f]*\] /, ""); print }; next }
		{ found = 0; line = $0; sub(/^.*: /, "", line); if (line == lock) found = 1 }
	' /proc/lockdep
}

# over LOCK: how many classes have been held over it, itself included.
over() {
	sed -n -E "s/.*BD: *([0-9]+) .*: $1\$/\1/p" /proc/lockdep
}

# innermost LOCK ALLOWED...: nothing is taken under it but these, and what a wake-up takes.
innermost() {
	local lock=$1 name allowed
	shift
	[[ -n $(over "$lock") ]] || fail "lockdep has not seen $lock"
	while IFS= read -r name; do
		case $name in
		'&rq->__lock' | '&p->pi_lock' | '&obj_hash[i].lock' | '&lock->wait_lock' | '&x->wait'*) continue ;;
		# The wait_lock of a mutex or rwsem, where the kernel initialises it by a guard.
		'_T->lock' | '_T->lock#'*) continue ;;
		esac
		for allowed; do
			[[ $name != "$allowed" ]] || continue 2
		done
		fail "$name is taken under $lock"
	done < <(under "$lock")
}

# held_over LOCK MOST: how many other classes there may be. Of one, it is the change lock.
held_over() {
	local seen
	seen=$(over "$1")
	[[ -n $seen ]] || fail "lockdep has not seen $1"
	((seen - 1 <= $2)) || fail "$((seen - 1)) classes have been held over $1"
	((seen == 1)) || under rust_loop_change | grep -qx "$1" ||
		fail "another class than rust_loop_change has been held over $1"
}

# seen LOCK UNDER...
seen() {
	local lock=$1 name
	shift
	for name; do
		under "$lock" | grep -qxE "$name" || fail "$name has not been taken under $lock"
	done
}

test_case "lockdep has no objection to any edge" every_edge
test_case "no task waits under the state lock" innermost rust_loop_state rust_loop_work_lock
test_case "no task does I/O or waits for a filesystem under the validate lock" \
	innermost rust_loop_validate rust_loop_state rust_loop_work_lock
test_case "the work lock is innermost but for timers and workqueues" \
	innermost rust_loop_work_lock '&base->lock' '&pool->lock' '&pcpu_hot' 'pool_lock'
test_case "no lock is held over the change lock" held_over rust_loop_change 0
test_case "none but the change lock is held over the validate lock" held_over rust_loop_validate 1
test_case "the change lock is held over filesystems, the queue and openers" \
	seen rust_loop_change rust_loop_state '&q->limits_lock' '&q->mq_freeze_lock' \
	'&disk->open_mutex' '.*s_umount_key.*'
test_case "the change lock is not needed to open a device" seen '&disk->open_mutex' rust_loop_state

run_cases
