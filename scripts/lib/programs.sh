# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Programs that tests need, built before their guests start: build/tests/NAME
# from tests/NAME.c, and NAME32 for 32 bits. They are static, as the guest has
# no 32-bit libraries.

# program_build NAME: in the top directory of the checkout.
program_build() {
	local source=tests/$1.c out=build/tests/$1 lock

	mkdir -p build/tests
	# Another check may be building it.
	exec {lock}>build/tests/.lock
	flock "$lock"
	program_compile "$source" "$out" -m64 && program_compile "$source" "${out}32" -m32
	exec {lock}>&-
}

program_compile() {
	[[ $1 -nt $2 ]] || return 0
	scripts/env run -- gcc-14 "$3" -static -O2 -Wall -Wextra -Werror -o "$2.new" "$1" &&
		mv "$2.new" "$2"
}
