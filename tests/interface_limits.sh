#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# vm: --cpus 2 --mem 1024 --disk 256M
# leaks: no
#
# What the queue says of a device comes from the file that it has, and from who uses it now.

. "$(dirname "$0")/lib.sh"
NEED_LOOPCTL=1

setup() {
	ensure_driver
	truncate -s 1M "$WORK/image"
	defer 'rm -f "$WORK/image"'
	QUEUE=/sys/block/${PREFIX}0/queue
}

limits() {
	local name
	for name in "$QUEUE"/*; do
		[[ ! -f $name ]] || echo "${name##*/}=$(cat "$name" 2>/dev/null)"
	done
}

# ---- what a user sets ----------------------------------------------------------

# set_by_user: all that can be set and is a limit.
set_by_user() {
	echo 0 >"$QUEUE/discard_max_bytes"
	echo 64 >"$QUEUE/max_sectors_kb"
	echo 1 >"$QUEUE/rotational"
	echo 1 >"$QUEUE/add_random"
	echo 0 >"$QUEUE/iostats"
	echo 1 >"$QUEUE/stable_writes"
	echo 'write through' >"$QUEUE/write_cache"
	[[ ! -e $QUEUE/iostats_passthrough ]] || echo 1 >"$QUEUE/iostats_passthrough"
	same "$(<"$QUEUE/write_cache")" "write through" write_cache
	same "$(<"$QUEUE/max_sectors_kb")" 64 max_sectors_kb
}

forgotten() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver keeps them"
	setup
	attach "${DEV}0" "$WORK/image"
	limits >"$WORK/before"
	set_by_user
	detach "${DEV}0"
	attach "${DEV}0" "$WORK/image"
	limits >"$WORK/after"
	diff "$WORK/before" "$WORK/after"
	detach "${DEV}0"
}

# But not as long as the file is the same.
kept() {
	setup
	attach "${DEV}0" "$WORK/image"
	echo 0 >"$QUEUE/discard_max_bytes"
	echo 64 >"$QUEUE/max_sectors_kb"
	echo 0 >"$QUEUE/iostats"
	expect ok loopctl set-status "${DEV}0" --offset 512
	expect ok loopctl set-block-size "${DEV}0" 1024
	expect ok loopctl set-capacity "${DEV}0"
	same "$(<"$QUEUE/discard_max_bytes")" 0 discard_max_bytes
	same "$(<"$QUEUE/max_sectors_kb")" 64 max_sectors_kb
	same "$(<"$QUEUE/iostats")" 0 iostats
	detach "${DEV}0"
}

# ---- pages that must not change while they are written ---------------------------

# below: STORE is a disk in memory that has checksums of what is written, as it says.
below() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver does not ask for that"
	setup
	null_disk nullb_stable 64
	STORE=/dev/nullb_stable
	echo 1 >/sys/block/nullb_stable/queue/stable_writes
}

# stable WANT
stable() {
	same "$(<"$QUEUE/stable_writes")" "$1" stable_writes
}

stable_device() {
	below
	attach "${DEV}0" "$STORE"
	stable 1
	detach "${DEV}0"
	attach "${DEV}0" --direct-io=on "$STORE"
	same "$(sysfs_attr "${DEV}0" loop/dio)" 1 "direct I/O"
	stable 1
	expect ok loopctl set-direct-io "${DEV}0" 0
	stable 1
	expect ok loopctl set-block-size "${DEV}0" 4096
	stable 1
	detach "${DEV}0"
	# Not for ever.
	echo 0 >/sys/block/nullb_stable/queue/stable_writes
	attach "${DEV}0" "$STORE"
	stable 0
	detach "${DEV}0"
}

# stable_file TYPE
stable_file() {
	below
	need_command "mkfs.$1"
	need_module "$1"
	# XFS is only made this small for tests.
	TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 "mkfs.$1" -q "$STORE"
	mkdir -p "$WORK/fs"
	mount "$STORE" "$WORK/fs"
	defer '! mountpoint -q "$WORK/fs" || umount "$WORK/fs"'
	truncate -s 16M "$WORK/fs/image"
	attach "${DEV}0" "$WORK/fs/image"
	stable 1
	detach "${DEV}0"
	attach "${DEV}0" --direct-io=on "$WORK/fs/image"
	stable 1
	# On top as well.
	attach "${DEV}1" "${DEV}0"
	QUEUE=/sys/block/${PREFIX}1/queue stable 1
	detach "${DEV}1"
	detach "${DEV}0"
}

stable_integrity() {
	[[ $DRIVER == rust_loop ]] || skip "the C driver does not ask for that"
	setup
	need_command dmsetup
	need_module dm-integrity
	# It formats a disk that begins with zeroes.
	dd if=/dev/zero of=/dev/vdb bs=1M count=1 oflag=direct status=none
	dmsetup create whole --table "0 1 integrity /dev/vdb 0 - D 1 internal_hash:crc32c" ||
		skip "dm-integrity has no crc32c here"
	dmsetup remove whole
	dmsetup create whole --table "0 65536 integrity /dev/vdb 0 - D 1 internal_hash:crc32c"
	defer 'wait_until 10 dmsetup remove whole 2>/dev/null'
	udevadm settle
	# What has not been written has no checksum.
	dd if=/dev/zero of=/dev/mapper/whole bs=1M count=32 oflag=direct status=none
	attach "${DEV}0" --direct-io=on /dev/mapper/whole
	stable 1
	changes_while_written "${DEV}0"
	detach "${DEV}0"
	# All that was written has the right checksum.
	dd if=/dev/mapper/whole of=/dev/null bs=64K iflag=direct status=none
}

# changes_while_written DEVICE: through a filesystem and a mapping.
changes_while_written() {
	mkfs.ext4 -q -O ^has_journal "$1"
	mkdir -p "$WORK/mnt"
	mount "$1" "$WORK/mnt"
	defer '! mountpoint -q "$WORK/mnt" || umount "$WORK/mnt"'
	python3 - "$WORK/mnt/file" <<-'END'
		import mmap, os, sys, threading

		fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
		os.ftruncate(fd, 1 << 20)
		memory = mmap.mmap(fd, 1 << 20)
		done = threading.Event()

		def change():
		    byte = 0
		    while not done.is_set():
		        byte = (byte + 1) % 256
		        for page in range(256):
		            memory[page * 4096 + byte * 16] = byte

		thread = threading.Thread(target=change)
		thread.start()
		try:
		    for _ in range(30):
		        os.fsync(fd)
		finally:
		    done.set()
		    thread.join()
	END
	umount "$WORK/mnt"
}

it "what a user has set is gone with the file" forgotten
it "what a user has set stays as long as the file does" kept
it "stable pages are asked for if the disk below does" stable_device
it "stable pages are asked for if the disk below ext4 does" stable_file ext4
it "stable pages are asked for if the disk below xfs does" stable_file xfs
it "stable pages keep checksums right, direct I/O on dm-integrity" stable_integrity

run
