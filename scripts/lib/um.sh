# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# User-Mode Linux in the place of the emulator: the kernel is a program of this machine. What
# the emulator offers as virtio devices is here
#
#	disks		/dev/ubdb, ..., to which scripts/guest/init links /dev/vdb, ...
#	shares		directories of this machine (hostfs), named on the command line
#	ports		serial lines, which write to file descriptors: 1 and 2 are the output and
#			the errors of the command
#	console		serial line 0

# um_share TAG DIRECTORY
um_share() {
	[[ $2 != *[[:space:],]* ]] || die "User-Mode Linux cannot share '$2': no blank or comma may be in it"
	ARGS+=("share_$1=$2")
}

um_disks() {
	local disk letter number=1

	for disk in "${DISKS[@]}"; do
		letter=$(printf '%b' "\\x$(printf '%x' $((97 + number)))")
		case $disk in
		/*)
			[[ "$(head -c 3 "$disk")" != QFI ]] || die "'$disk' is qcow2; User-Mode Linux reads raw images"
			;;
		*)
			truncate -s "$disk" "$RUN/disk$number"
			disk=$RUN/disk$number
			;;
		esac
		ARGS+=("ubd$letter=$disk")
		number=$((number + 1))
	done
}

# um_arguments OUT ERR: set ARGS from the options of the run. OUT and ERR are file descriptors.
um_arguments() {
	local share

	ARGS=("mem=${MEM}M" "ncpus=$CPUS" seccomp=on noreboot "uml_dir=$RUN/uml/" umid=guest
		"initrd=$RUN/initramfs" "ubdarc=$IMAGE"
		con=null con0=null ssl=null "ssl0=null,fd:3" "ssl1=null,fd:$1" "ssl2=null,fd:$2"
		console=ttyS0 ignore_loglevel printk.devkmsg=on log_buf_len=4M panic=-1 oops=panic
		rdinit=/init)
	um_disks
	um_share modules "$MODULES"
	um_share src "$TOP"
	# shellcheck disable=SC2153 # options of scripts/vm
	for share in "share $SHARE" "out $SHARE_RW"; do
		[[ -z ${share#* } ]] || um_share "${share%% *}" "${share#* }"
	done
	# shellcheck disable=SC2206 # words
	ARGS+=($APPEND)
}

# um_start OUT ERR: in the background. A guest is several processes; the first one ends them.
um_start() {
	um_arguments "$@"
	# shellcheck disable=SC2016 # for that shell
	timeout -k 5 "$TIMEOUT" bash -c '[[ -z $1 ]] || echo $$ >"$1"; exec "${@:2}"' - "$PIDFILE" \
		"$BOOT/linux" "${ARGS[@]}" </dev/null 3>"$RUN/console" >"$RUN/qemu.log" 2>&1 &
}
