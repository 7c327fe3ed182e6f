# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What makes Debian packages: debhelper and lintian, in a tree of their own.

PACKAGER_PACKAGES=(debhelper dh-dkms dpkg-dev fakeroot kmod lintian xz-utils)

packager_name() {
	printf 'packager-%s\n' "$(key "$SUITE" "${PACKAGER_PACKAGES[@]}" \
		"$(declare -f packager_build)")"
}

packager_prepare() {
	artefact "$(packager_name)" \
		"packager: debhelper and lintian of Debian $SUITE (110 MB to fetch, 0.6 GB)" \
		packager_build
}

packager_build() {
	debian_tree "$1" minbase "${PACKAGER_PACKAGES[@]}"
	mkdir -p "$1"/{proc,sys,dev,tmp}
}
