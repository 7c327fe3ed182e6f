# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# A whole Debian for scripts/check-system: systemd, apt, the stock kernel, and the
# programs that use loop devices. An ext4 image, which each run copies.

SYSTEM_PACKAGES=(apt btrfs-progs busybox cryptsetup-bin dbus dmsetup e2fsprogs fdisk
	initramfs-tools kmod lvm2 mdadm mount squashfs-tools systemd systemd-container
	systemd-sysv udev udisks2 zstd)

system_name() {
	printf 'system-%s\n' "$(key "$SUITE" "$KERNEL_DEBVER" "${SYSTEM_PACKAGES[@]}" \
		"$(declare -f system_build)")"
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
	debian_tree "$root" minbase "${SYSTEM_PACKAGES[@]}" "${kernels[@]}"
	rm -rf "$root"/var/cache/apt/archives/* "${root:?}"/dev/*
	mkdir -p "$root/mnt/check"
	echo system >"$root/etc/hostname"
	echo 'LABEL=system / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
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
	tree_in "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer \
		dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-firstboot.service \
		getty@tty1.service lvm2-monitor.service mdmonitor.service
	tree_in "$root" update-initramfs -c -k "$KERNEL_NAME"
	mkdir -p "$dir/boot"
	cp "$root/usr/lib/modules/$KERNEL_NAME"/vmlinuz* "$dir/boot/vmlinuz"
	mke2fs -q -t ext4 -L system -d "$root" "$dir/root.ext4" 4G
	rm -rf --one-file-system "$root"
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
