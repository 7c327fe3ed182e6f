# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016 # the wrapper expands its own variables
#
# The program that draws the plots of benchmarks: gnuplot with a font, in a separate directory
# like the emulator.

plotter_name() {
	printf 'plotter-%s\n' "$(key "$SUITE" "$(declare -f plotter_build)")"
}

plotter_prepare() {
	artefact "$(plotter_name)" \
		"plotter: gnuplot of Debian $SUITE (25 MB to fetch, 0.1 GB, about 15 s)" \
		plotter_build
}

plotter_build() {
	local dir=$1

	debian_tree "$dir" extract gnuplot-nox fonts-dejavu-core libc6
	cat >"$dir/fonts.conf" <<-END
		<?xml version="1.0"?>
		<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
		<fontconfig>
		<dir prefix="relative">usr/share/fonts</dir>
		<cachedir prefix="xdg">fontconfig</cachedir>
		</fontconfig>
	END
	printf '%s\n' '#!/bin/sh' 'tree=$(dirname "$0")' 'lib=$tree/usr/lib/x86_64-linux-gnu' \
		'export FONTCONFIG_FILE="$tree/fonts.conf" GNUPLOT_LIB="$tree/usr/share/gnuplot"' \
		'exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$tree/usr/bin/gnuplot-nox" "$@"' \
		>"$dir/gnuplot"
	chmod +x "$dir/gnuplot"
	"$dir/gnuplot" --version
}
