# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Programs that tests need, built before their guests start: build/tests/NAME
# from all of tests/NAME/*.[ch], and NAME32 for 32 bits; those of arm64 are in
# build/tests-aarch64. They are static, as the guest has no 32-bit libraries.

PROGRAM_OPTIONS=(-static -O2 -Wall -Wextra -Werror)

# program_build NAME: in the top directory of the checkout.
program_build() {
	local dir=build/tests out lock status=0

	[[ ${ARCH:-} != arm64 ]] || dir=build/tests-aarch64
	out=$dir/$1
	mkdir -p "$dir"
	# Another check may be building it.
	exec {lock}>"$dir/.lock"
	flock "$lock"
	case ${ARCH:-} in
	arm64)
		program_compile "$1" "$out" aarch64-linux-gnu-gcc-14 &&
			program_compile "$1" "${out}32" arm-linux-gnueabihf-gcc-14 || status=1
		;;
	*)
		program_compile "$1" "$out" gcc-14 -m64 &&
			program_compile "$1" "${out}32" gcc-14 -m32 || status=1
		;;
	esac
	exec {lock}>&-
	return "$status"
}

# program_compile NAME OUT COMPILER [OPTION]: not if OUT is of just these files and options.
program_compile() {
	local sources=(tests/"$1"/*.c) key

	key=$(sha256sum tests/"$1"/*.[ch] <<<"${*:3} ${PROGRAM_OPTIONS[*]}" - | sha256sum | cut -c1-16)
	[[ ! -x $2 || ! -e $2.key || $(<"$2.key") != "$key" ]] || return 0
	scripts/env run -- "${@:3}" "${PROGRAM_OPTIONS[@]}" -o "$2.new" "${sources[@]}" &&
		mv "$2.new" "$2" && echo "$key" >"$2.key"
}
