# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# rublk, with which benchmarks compare rust_loop: its loop target serves a file from user space
# through ublk_drv. It is built from the crate registry in a separate tree.

RUBLK_VERSION=0.2.15
UBLK_PACKAGES=(cargo rustc gcc libc6-dev clang-19 libclang-19-dev pkg-config ca-certificates)

ublk_name() {
	printf 'ublk-%s\n' "$(key "$SUITE" "$RUBLK_VERSION" "${UBLK_PACKAGES[@]}" \
		"$(declare -f ublk_build)")"
}

ublk_prepare() {
	artefact "$(ublk_name)" \
		"ublk: rublk $RUBLK_VERSION (0.3 GB to fetch, 1 GB while it is built, about 5 min)" \
		ublk_build
}

ublk_build() {
	local dir=$1 file

	mkdir -p "$dir"
	debian_tree "$dir/tree" minbase "${UBLK_PACKAGES[@]}"
	# The host's name resolution and trusted certificates, for access to the registry.
	for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
		[ ! -r "$file" ] || cp -L "$file" "$dir/tree$file"
	done
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare -m --propagation private sh -ec '
		for dir in /proc /dev; do mount --rbind "$dir" "$1$dir"; done
		exec chroot "$1" env -u RUSTC -u RUSTFLAGS -u RUSTC_WRAPPER \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp \
			LIBCLANG_PATH=/usr/lib/llvm-19/lib \
			cargo install --quiet --locked --root /root rublk --version "$2"
	' sh "$dir/tree" "$RUBLK_VERSION"
	cp "$dir/tree/root/bin/rublk" "$dir/rublk"
	rm -rf "$dir/tree"
}
