#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# runs: on the host
# um: the disks are images of the emulator
# timeout: 300 600
# debug: what outlives a machine is the same on both kernels
#
# What was acknowledged after fsync or FUA outlives the machine. In a guest several
# loads write to devices, see crash.py, and say what was acknowledged; the emulator is
# killed at a random moment; the next guest has the same disks, finds every block and
# file of that, and goes on writing. In the end a guest only looks, and unloads.
#
# A disk is a qcow2 image over that of the cycle before. Where new data is in such an
# image, the emulator keeps in memory until the guest flushes the disk, so killing it
# loses what was not flushed, as a power failure does. Each load has its own disk, for a
# flush of one would save the data of another that shares it. A control flushes
# nothing, and fails if nothing of it is lost.
#
# Environment: CYCLES, LOADS, LONGEST (milliseconds to live after every load had
# something acknowledged), SEED, and DRIVER, KERNEL as for other tests.

. "$(dirname "$0")/lib-host.sh"

cycles=1
[[ -z ${WHOLE:-} ]] || cycles=2
CYCLES=${CYCLES:-$cycles}
LONGEST=${LONGEST:-2500}
SEED=${SEED:-$((RANDOM + 1))}
read -ra LOADS <<<"${LOADS:-sync-buffered sync-direct fua-buffered fua-direct ext4-buffered ext4-direct control-direct}"
# One boot in so many is killed whatever it is doing, while it verifies for example.
EARLY_ONE=8

need_number CYCLES LONGEST SEED

at_exit() {
	[[ -z ${VM:-} ]] || kill "$VM" 2>/dev/null
}

# ---- disks ----------------------------------------------------------------

# disk_make LOAD: a filesystem with an image, which has a filesystem in it if the
# load is for files.
disk_make() {
	mkdir "$WORK/tree"
	truncate -s 16M "$WORK/tree/image"
	if [[ $1 == ext4-* ]]; then
		truncate -s 32M "$WORK/tree/image"
		mke2fs -q -t ext4 -b 4096 "$WORK/tree/image"
	fi
	mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 \
		-d "$WORK/tree" "$WORK/$1.raw" 96M >/dev/null
	rm -r "$WORK/tree"
}

# Space is allocated by 2 KiB, and one table says where all of it is.
overlay_make() {
	"$QEMU_IMG" create -q -f qcow2 -o extended_l2=on,backing_fmt=raw \
		-b "$WORK/$1.raw" "$WORK/$1.qcow2" >/dev/null
}

overlay_commit() {
	"$QEMU_IMG" commit -q -d "$WORK/$1.qcow2" && rm "$WORK/$1.qcow2"
}

for_each_load() {
	local load
	for load in "${LOADS[@]}"; do
		"$1" "$load" || bail_out "$1 $load"
	done
}

# ---- one guest ------------------------------------------------------------

# guest_start CYCLE MODE: its standard output is OUT.
guest_start() {
	local load disks=()
	for load in "${LOADS[@]}"; do
		disks+=(--image "$WORK/$load.qcow2")
	done
	rm -f "$WORK/pid"
	# shellcheck disable=SC2016 # for the guest
	coproc GUEST {
		exec "$TOP/scripts/vm" --kernel "$KERNEL" --mem 1536 --timeout 240 \
			--append kmemleak=off "${disks[@]}" --share "$WORK/share" \
			--pidfile "$WORK/pid" --dmesg "$WORK/dmesg" -- \
			bash -c 'udevadm control --exit && modprobe "$1" max_loop=8 && echo attaching &&
				/mnt/src/tests/programs/crash.py "${@:2}" &&
				if [[ $4 == verify ]]; then rmmod "$1"; fi' \
			bash "$DRIVER" "$PREFIX" "$@" /mnt/share/acknowledged "${LOADS[@]}" \
			2>"$WORK/err" </dev/null
	}
	VM=$GUEST_PID
	exec {OUT}<&"${GUEST[0]}"
}

# guest_lines PREDICATE: put lines of the guest into the file "lines" until the
# predicate says that it is enough; false at their end.
guest_lines() {
	local line
	until "$1"; do
		IFS= read -r -u "$OUT" line || return 1
		count_line "$REST$line"
		REST=
	done
}

# count_line LINE: keep it, and what it says.
count_line() {
	local what load
	echo "$1" >>"$WORK/lines"
	read -r what load _ <<<"$1"
	case $what in
	attaching) ATTACHING=1 ;;
	verified) VERIFIED[$load]=1 ;;
	ack) COUNT[$load]=$((${COUNT[$load]:-0} + 1)) ;;
	esac
}

is_attaching() {
	[[ -n $ATTACHING ]]
}

all_acknowledge() {
	((${#COUNT[@]} == ${#LOADS[@]}))
}

never() {
	false
}

# guest_lives MS: the same for some time. What has come of a line is in REST.
guest_lives() {
	local line left end
	end=$(($(now_ms) + $1))
	while left=$((end - $(now_ms))) && ((left > 0)); do
		printf -v left '%d.%03d' $((left / 1000)) $((left % 1000))
		if IFS= read -r -t "$left" -u "$OUT" line; then
			count_line "$REST$line"
			REST=
		else
			(($? > 128)) || return 1
			REST+=$line
		fi
	done
}

# guest_end: read what is still on its way, and set STATUS.
guest_end() {
	guest_lines never
	exec {OUT}<&-
	wait "$VM"
	STATUS=$?
	VM=
}

# complain: why the last guest is not what it should have been.
complain() {
	KEEP=1
	report "scripts/vm exited with $STATUS, seed $SEED"
	grep '^failed' "$WORK/lines" | report_lines
	tail -n 20 "$WORK/err" | report_lines
}

# Errors that are no splat: of the filesystems, and of the devices.
log_errors() {
	grep -E 'EXT4-fs (error|warning)|I/O error|JBD2: .*(error|recovery failed)' "$WORK/dmesg" | report_lines
	((PIPESTATUS[0] == 1)) && return 1
	return 0
}

# cycle NUMBER MODE: a guest; true if it ended as it should.
cycle() {
	local alive expected=137
	declare -gA VERIFIED=() COUNT=()
	ATTACHING='' LIVED='' REST=''
	: >"$WORK/lines"
	alive=$((RANDOM % LONGEST))
	EARLY=
	if (($1 % EARLY_ONE == 0)) && [[ $2 == write ]]; then
		EARLY=1
		alive=$((alive * 2))
	fi
	for_each_load overlay_make
	guest_start "$@"
	if [[ $2 == verify ]]; then
		expected=0
	elif [[ -n $EARLY ]]; then
		guest_lines is_attaching && guest_lives "$alive" && guest_kill
	else
		guest_lines all_acknowledge && guest_lives "$alive" && guest_kill
	fi
	guest_end
	LIVED="$alive ms"
	log_errors && return 1
	((STATUS == expected)) && [[ $(<"$WORK/lines") != *failed* ]] || return 1
	[[ -n $EARLY ]] || ((${#VERIFIED[@]} == ${#LOADS[@]})) || return 1
	# Complete lines only. A guest does not see its own.
	{
		echo "cycle $1"
		grep '^ack ' "$WORK/lines"
	} >>"$WORK/share/acknowledged"
	for_each_load overlay_commit
}

guest_kill() {
	kill -9 "$(<"$WORK/pid")"
}

# ---- all of it ------------------------------------------------------------

fsck() {
	e2fsck -f -n "$WORK/$1.raw" >"$WORK/fsck" 2>&1 || {
		KEEP=1
		sed "s/^/# $1: /" "$WORK/fsck"
		return 1
	}
}

campaign() {
	local number mode load text unclean='' start=$SECONDS
	for ((number = 1; number <= CYCLES + 1; number++)); do
		mode="write"
		((number <= CYCLES)) || mode=verify
		cycle "$number" "$mode" || {
			complain
			result 1 "guest $number finds what was acknowledged: ${LIVED:-}"
			exit 1
		}
		text=
		for load in "${LOADS[@]}"; do
			text+=" $load ${COUNT[$load]:-0}"
			TOTAL[$load]=$((${TOTAL[$load]:-0} + ${COUNT[$load]:-0}))
		done
		grep '^verified' "$WORK/lines" | report_lines
		[[ $mode == verify ]] || report "acknowledgements:$text; killed after $LIVED"
		if [[ -n $EARLY ]]; then
			result 0 "guest $number is killed early"
		else
			result 0 "guest $number finds what was acknowledged"
		fi
	done
	for load in "${LOADS[@]}"; do
		fsck "$load" || unclean+=" $load"
	done
	result "$((${#unclean} > 0))" "the filesystems below are clean${unclean:+, but:$unclean}"
	report "$CYCLES kills in $((SECONDS - start)) s; acknowledgements:$(printf ' %s' "${TOTAL[@]@K}")"
}

declare -A TOTAL=()
RANDOM=$SEED
report "SEED=$SEED"
QEMU_IMG=$("$TOP/scripts/env" emulator)/qemu-img || bail_out "no emulator"
mkdir "$WORK/share"
: >"$WORK/share/acknowledged"
for_each_load disk_make
plan "$((CYCLES + 2))"
campaign
finish
