# SPDX-License-Identifier: GPL-2.0
#
# A front for scripts/; Kbuild is what the kernel's build system reads.

# kbuild hands its own KERNELRELEASE to a Makefile; Kbuild wins over this file
# there, so nothing here runs inside it.

KERNEL ?=
KDIR ?=
TESTS ?=
PART ?=
CYCLES ?=
KSRC ?=

which := $(if $(KDIR),--kdir $(KDIR),$(if $(KERNEL),--kernel $(KERNEL)))
checked := --kernel $(or $(KERNEL),stock)

all:
	@module=$$(scripts/build $(which) --print) && \
		{ cmp -s "$$module" rust_loop.ko || cp "$$module" rust_loop.ko; }

demo:
	@scripts/demo

install:
	@[ -e rust_loop.ko ] || { echo "install: rust_loop.ko is missing; run make first" >&2; exit 1; }
	@scripts/install module

uninstall:
	@scripts/install remove

deb:
	@scripts/deb

check test:
	@scripts/check $(checked) '$(TESTS)'

quick:
	@JOBS=$(or $(JOBS),1) scripts/check --kernel um '$(TESTS)'

check-kernels:
	@status=0; scripts/check-kernels || status=1; scripts/check-configs || status=1; \
	scripts/check-arm64 || status=1; exit $$status

check-system:
	@scripts/check-system $(PART)

intree:
	@scripts/intree '$(KSRC)'

soak:
	@KERNEL=$(or $(KERNEL),stock) CYCLES=$(or $(CYCLES),100) tests/crash_consistency.sh

bench:
	@scripts/bench

bench-latency:
	@scripts/bench-latency

bench-bundle:
	@scripts/bench-bundle

lint:
	@scripts/lint

doc:
	@scripts/doc

clean:
	rm -rf build rust_loop.ko

help:
	@printf '%s\n' \
	'rust_loop: a loop block device driver in Rust' \
	'' \
	'Targets:' \
	'  all     rust_loop.ko for KDIR, else for the running kernel if that can be, else' \
	'          for the newest kernel of Debian that has Rust; says which, and why' \
	'  demo    boot the stock kernel and tell, with a real disk image, what works' \
	'  install    what "make" built, for its kernel, with rules of udev and man page;' \
	'             needs root, or DESTDIR=; prefix= and INSTALL_MOD_PATH= as usual' \
	'  uninstall  removes that again' \
	'  deb     Debian packages in build/deb: for DKMS, and prebuilt for one kernel' \
	'  check   the tests, in fresh guests; also called test' \
	'  quick   the tests under User-Mode Linux: faster, without an emulator, and not for' \
	'          all tests (KASAN=1: with its checks of memory)' \
	'  check-kernels  build, load and check on each kernel with Rust that Debian has, and' \
	'          in the tree of small kernels with other configurations; takes hours' \
	'  check-system  Debian 13 in a virtual machine: install, boot, upgrade, purge' \
	'  soak    100 guests (or CYCLES=N) that are killed while they write: nothing that' \
	'          was acknowledged may be lost; takes half an hour' \
	'  intree  the driver, its documentation and selftests into the kernel tree KSRC=DIR' \
	'  lint    formatting, clippy, where unsafe is, shell scripts, licences' \
	'  doc     the documentation of the crate, in build/doc' \
	'  bench   speed beside loop.ko and the store itself: tables, plots; takes half an' \
	'          hour (BENCH=full: more than twice that; CPUS=N: on N virtual CPUs);' \
	'          ICOUNT=1: instructions per I/O instead, exact' \
	'  bench-latency  latency of one command at a time, in instructions; CPUS="1 2 8"' \
	'  bench-bundle   an archive with the benchmark, for machines with more processors' \
	'  clean   remove what was built here (the cache stays)' \
	'  help    this text' \
	'' \
	'Variables:' \
	'  KDIR=DIR            build natively for the kernel of this build directory' \
	'  KSRC=DIR            intree: the source tree of a kernel' \
	'  KERNEL=stock|debug  all, check, soak: the prepared kernel, that of Debian or one' \
	'                      with all checks on (demo and bench are of the stock kernel)' \
	'  ARCH=arm64          all, check: for the stock kernel of arm64, emulated' \
	'  TESTS=PATTERN       check, quick: only the tests whose name contains this' \
	"  PARAMETERS='A=1'     check, bench*: load the module with these parameters" \
	'  WHOLE=1             check: also scripts and cases that take the same way as others' \
	'  RT=1                check KERNEL=debug: with PREEMPT_RT' \
	'  PART=NAME           check-system: only this boot, see scripts/check-system --help' \
	'' \
	'Environment:' \
	'  RUST_LOOP_CACHE=DIR     where everything heavy is kept (~/.cache/rust_loop):' \
	'                          compilers, kernels, guest; 3 GB, made when needed' \
	'  KERNEL_VERSION=X.Y.Z    this version instead of the newest Debian kernel' \
	'  REFRESH=1               ask the archive for a newer kernel now, not once a day' \
	'  DEBIAN_MIRROR=URL       instead of the mirror of this machine' \
	"  GUEST_EXTRA_PACKAGES='A B'  Debian packages to add to the guest" \
	'  RUST_LOOP_ACCEL=tcg|kvm     instead of the choice by a trial boot'

.PHONY: intree all demo install uninstall deb check test quick check-kernels check-system soak bench bench-latency bench-bundle lint doc clean help
