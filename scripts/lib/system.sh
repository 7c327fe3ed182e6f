# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A whole Debian for scripts/check-system: systemd, apt, the stock kernel, and the
# programs that use loop devices. An ext4 image, which each run copies.

SYSTEM_PACKAGES=(apt btrfs-progs busybox cloud-guest-utils cryptsetup-bin dbus dmsetup
	e2fsprogs fdisk initramfs-tools kmod lvm2 mdadm mount squashfs-tools systemd
	systemd-container systemd-cryptsetup systemd-sysv udev udisks2 zstd)
# For the boots of check-system from a file. Not in the system with DKMS.
SYSTEM_LIVE_PACKAGES=(live-boot live-boot-initramfs-tools)
# Units that a boot of this system does not need. Emulated, each takes seconds.
SYSTEM_MASKED=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
	e2scrub_reap.service fstrim.timer getty@tty1.service serial-getty@ttyS0.service
	ldconfig.service lvm2-monitor.service mdmonitor.service mdmonitor-oneshot.timer
	mdcheck_start.timer mdcheck_continue.timer systemd-firstboot.service
	systemd-hwdb-update.service systemd-journal-catalog-update.service
	systemd-update-done.service systemd-update-utmp.service
	systemd-update-utmp-runlevel.service systemd-tmpfiles-clean.timer
	modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service
	modprobe@fuse.service sys-kernel-config.mount sys-fs-fuse-connections.mount)

system_name() {
	printf 'system-%s\n' "$(key "$SUITE" "$KERNEL_DEBVER" "${SYSTEM_PACKAGES[@]}" \
		"${SYSTEM_LIVE_PACKAGES[@]}" \
		"${SYSTEM_MASKED[@]}" "${STOCK_MODULES[@]}" \
		"$(declare -f system_build system_configure system_trim tree_in)")"
}

system_prepare() {
	tree_prepare "$KERNEL_RUST"
	artefact "$(system_name)" \
		"Debian $SUITE with systemd and kernel $KERNEL_NAME (0.25 GB to fetch, 0.5 GB)" \
		system_build
}

system_build() {
	local dir=$1 root=$1/root package kernels=()

	for package in "$KERNEL_BINARY" "linux-base-$KERNEL_NAME" "linux-modules-$KERNEL_NAME"; do
		kernels+=("$package=$KERNEL_DEBVER")
	done
	mkdir "$root"
	debian_tree "$root" minbase "${SYSTEM_PACKAGES[@]}" "${SYSTEM_LIVE_PACKAGES[@]}" \
		"${kernels[@]}"
	system_configure "$root"
	system_trim "$root" "$KERNEL_NAME"
	mkdir -p "$dir/boot"
	cp "$root/usr/lib/modules/$KERNEL_NAME"/vmlinuz* "$dir/boot/vmlinuz"
	mke2fs -q -t ext4 -L system -d "$root" "$dir/root.ext4" 4G
	rm -rf --one-file-system "$root"
}

# system_configure ROOT: a service runs the checks and powers off.
system_configure() {
	local root=$1

	rm -rf "$root"/var/cache/apt/archives/* "${root:?}"/dev/*
	mkdir -p "$root/mnt/check" "$root/etc/systemd/journald.conf.d"
	echo system >"$root/etc/hostname"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	echo 'LABEL=system / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
	printf '%s\n' '[Journal]' Storage=volatile >"$root/etc/systemd/journald.conf.d/check.conf"
	# Emulated, an initramfs with all modules takes minutes to make.
	printf '%s\n' MODULES=list COMPRESS=zstd COMPRESSLEVEL=1 \
		>"$root/etc/initramfs-tools/conf.d/check"
	printf '%s\n' virtio_pci virtio_blk ext4 >>"$root/etc/initramfs-tools/modules"
	cat >"$root/etc/systemd/system/check-system.service" <<-'END'
		[Unit]
		Description=The part of scripts/check-system of this boot
		After=multi-user.target udisks2.service
		[Service]
		Type=oneshot
		ExecStart=/bin/sh -c 'mount -t 9p -o trans=virtio,version=9p2000.L,ro check /mnt/check && exec bash /mnt/check/guest >/dev/virtio-ports/results 2>&1'
		ExecStopPost=/bin/sh -c 'umount /mnt/check; systemctl --no-block poweroff'
		[Install]
		WantedBy=graphical.target
	END
	tree_in "$root" systemctl -q enable check-system.service
	tree_in "$root" systemctl -q set-default graphical.target
	tree_in "$root" systemctl -q mask "${SYSTEM_MASKED[@]}"
	touch "$root/etc/.updated" "$root/var/.updated"
}

# system_trim ROOT RELEASE: leave the modules that a guest without hardware needs. Emulated,
# depmod takes minutes to decompress all 4000.
system_trim() {
	local modules=$1/usr/lib/modules/$2 keep to

	mv "$modules/kernel" "$modules/all"
	mkdir "$modules/kernel"
	for keep in "${STOCK_MODULES[@]}"; do
		[[ -e "$modules/all/$keep" ]] || continue
		to=$modules/kernel/$keep
		mkdir -p "${to%/*}"
		mv "$modules/all/$keep" "$to"
	done
	rm -rf "$modules/all"
	tree_in "$1" depmod "$2"
	rm -f "$1/boot/initrd.img-$2"
	tree_in "$1" update-initramfs -c -k "$2"
}

# ---- with DKMS --------------------------------------------------------------------
#
# The same system with what DKMS needs, as a directory: there the package is installed
# without emulation, in a chroot. Two more kernels: one of another supported series, and
# the one of Debian 13 itself, for which the module cannot be built.

SYSTEM_DKMS_PACKAGES=(bindgen dkms dwarves openssl rust-src rustc xz-utils)
SYSTEM_OLD_SERIES=6.12

system_second_kernel() {
	kernel_candidates | grep -v "^$(kernel_series "$KERNEL_NAME")\." | sed -n 1p
}

system_old_kernel() {
	awk -v start="linux-image-$SYSTEM_OLD_SERIES." \
		'index($1, start) == 1 && $1 ~ /deb[0-9.]+-amd64$/ { sub("linux-image-", "", $1); print $1 }' \
		"$ARCHIVE/table" | sort -V | tail -n 1
}

system_dkms_packages() {
	local name version

	printf '%s\n' "${SYSTEM_PACKAGES[@]}" "rustc=$KERNEL_RUST" "rust-src=$KERNEL_RUST"
	printf '%s\n' "${SYSTEM_DKMS_PACKAGES[@]}" | grep -vx 'rust-src\|rustc'
	for name in "$KERNEL_NAME" "$(system_second_kernel)"; do
		version=$(archive_versions "linux-headers-$name" | sed -n 1p)
		printf "%s=$version\n" "linux-binary-$name" "linux-base-$name" "linux-modules-$name" \
			"linux-headers-$name" "linux-source-$(kernel_series "$name")"
	done
	echo "linux-image-$(system_old_kernel)"
}

system_dkms_name() {
	printf 'system-dkms-%s\n' "$(key "$SUITE" "$(system_dkms_packages)" "${SYSTEM_MASKED[@]}" \
		"${STOCK_MODULES[@]}" \
		"$(declare -f system_dkms_build system_configure system_trim tree_in)")"
}

system_dkms_prepare() {
	artefact "$(system_dkms_name)" \
		"Debian $SUITE with DKMS, rustc and three kernels (0.9 GB to fetch, 4 GB)" \
		system_dkms_build
}

system_dkms_build() {
	local dir=$1 packages name

	mapfile -t packages < <(system_dkms_packages)
	mkdir "$dir/root"
	debian_tree "$dir/root" minbase "${packages[@]}"
	system_configure "$dir/root"
	for name in "$KERNEL_NAME" "$(system_second_kernel)" "$(system_old_kernel)"; do
		system_trim "$dir/root" "$name"
	done
}

# system_dkms_run UPPER COMMAND...: COMMAND in that tree, whose changes go to UPPER; with
# /mnt/check from $SHARED. It cannot load modules: the kernel is that of the host.
system_dkms_run() {
	local tree

	tree=$CACHE/$(system_dkms_name)/root
	mkdir -p "$1/changes" "$1/work" "$1/root"
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m --propagation private sh -ec '
		tree=$1 upper=$2 shared=$3
		shift 3
		root=$upper/root
		mount -t overlay -o "lowerdir=$tree,upperdir=$upper/changes,workdir=$upper/work" \
			overlay "$root"
		mount -t proc proc "$root/proc"
		mount -t sysfs -o ro sysfs "$root/sys"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs tmpfs "$root/tmp"
		mount --bind "$shared" "$root/mnt/check"
		exec setpriv --bounding-set=-sys_module chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive HOME=/root TERM=dumb "$@"
	' sh "$tree" "$1" "$SHARED" "${@:2}"
}

# system_dkms_disk UPPER FILE: a disk of it, without what only builds.
system_dkms_disk() {
	local tree

	tree=$CACHE/$(system_dkms_name)/root
	rm -f "$2"
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m --propagation private sh -ec '
		mount -t overlay -o "ro,lowerdir=$2/changes:$1" overlay "$2/root"
		cd "$2/root"
		for dir in usr/src usr/lib/gcc usr/lib/rustlib usr/lib/llvm-* usr/lib/git-core \
			usr/lib/x86_64-linux-gnu/perl usr/share/perl usr/include usr/share/doc; do
			[ ! -d "$dir" ] || mount -t tmpfs tmpfs "$dir"
		done
		exec mke2fs -q -t ext4 -L system -d . "$3" 5G
	' sh "$tree" "$1" "$2"
}

# ---- firmware ---------------------------------------------------------------------

FIRMWARE_PACKAGES=(ovmf python3-virt-firmware sbsigntool)

firmware_name() {
	printf 'firmware-%s\n' "$(key "$SUITE" "${FIRMWARE_PACKAGES[@]}" \
		"$(declare -f firmware_build)")"
}

firmware_prepare() {
	artefact "$(firmware_name)" \
		"firmware: UEFI of Debian $SUITE and what enrolls keys (0.1 GB to fetch, 0.4 GB)" \
		firmware_build
}

firmware_build() {
	debian_tree "$1" minbase "${FIRMWARE_PACKAGES[@]}"
	mkdir -p "$1"/{proc,sys,dev,tmp}
}

# tree_in ROOT COMMAND...: COMMAND in a tree that has /proc and /dev meanwhile.
tree_in() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m --propagation private sh -ec '
		mount -t proc proc "$1/proc"
		mount --rbind /dev "$1/dev"
		root=$1
		shift
		exec chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
	' sh "$@"
}
