# Nacre. `make help` lists what there is to do; every step of the continuous integration is a target here.

SHELL := /bin/bash
.DEFAULT_GOAL := help
KERNEL_CARGO := scripts/kernel-cargo.sh

# Settings of `make image` and `make run`; see the help.
export APP ARGS ENV FILES CWD COMPRESS ROOT OUT IMAGE MEM CPUS ACCEL MACHINE NET NETCFG DISK MOUNT SHARE VSOCK QEMU_ARGS LOG REWRITE IDLE TIMEOUT VERBOSE KERNEL KERNEL_PROFILE ONLY MINUTES SEED WORKERS
export TRACE TRACE_OUT PROFILE PROFILE_HZ
export ROWS ROUNDS SYSTEMS SERVERS SETS

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo
	@echo 'Settings of image and run:  APP=program ARGS="..." ENV="A=1 B=2" FILES=dir CWD=/ COMPRESS=1 ROOT=ext4 NETCFG=... OUT=file VERBOSE=1'
	@echo 'Settings of run:  IMAGE=file MEM=256M CPUS=1 ACCEL=auto|kvm|tcg MACHINE=microvm|q35|pc'
	@echo '                  NET=none|user,ports=8080:80|tap:NAME NETCFG=10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1,mtu=1400|dhcp|ra|off'
	@echo '                  DISK="file[,ro] ..." MOUNT="/dev/vda:/place[:type[:options]] ..." SHARE="dir[:/place][,ro] ..."'
	@echo '                  VSOCK=CID|socket:PATH'
	@echo '                  LOG=info|debug|trace REWRITE=on|off IDLE=poll|halt QEMU_ARGS="..." TIMEOUT=seconds'
	@echo '                  TRACE=all|openat,read,...|count TRACE_OUT=file PROFILE=out.svg PROFILE_HZ=997'
	@echo 'Settings of test: ONLY=pattern REWRITE=off (with ONLY=binaries/ or apps/: all programs with every system call trapped)'
	@echo 'Settings of bench: ROWS="pattern ..." SYSTEMS="native linux trapped rewritten shim" ROUNDS=5'
	@echo 'Settings of all:  KERNEL_PROFILE=kernel|kernel-dev (built again within seconds, with more checks)'

.PHONY: setup
setup: ## Install and build what is missing to build, run and test.
	@scripts/setup.sh

.PHONY: image
image: setup ## Make an image from APP, or from a small demo program.
	@scripts/build-image.sh

.PHONY: run
run: setup ## Boot IMAGE, or make an image from APP and boot it.
	@if [ -z "$$IMAGE" ]; then scripts/build-image.sh >&2 && IMAGE=$${OUT:-target/nacre.elf} scripts/run-qemu.sh; \
	else scripts/run-qemu.sh; fi

.PHONY: test
test: setup ## Run every test, or those whose name contains ONLY.
	@cargo run --release -p runner

.PHONY: ktest
ktest: setup ## Run the tests of the machine alone: boots, streams, statuses, crashes.
	@ONLY=qemu/ cargo run --quiet --release -p runner

.PHONY: check
check: check-format check-lints check-kernel-lints check-layers check-fuzz check-kernel ## Check formatting, lints, layering, that the fuzz targets compile, and the kernel's code.

.PHONY: check-format check-lints check-kernel-lints check-layers check-fuzz check-kernel
check-format:
	cargo fmt --all --check
check-lints: setup
	cargo clippy --quiet --all-targets -- -D warnings
check-kernel-lints: setup
	$(KERNEL_CARGO) clippy --quiet -p kernel -- -D warnings
check-layers:
	cargo run --quiet -p check
# That the targets of fuzzing compile, by the usual compiler, with the versions of everything else and without libFuzzer itself.
check-fuzz: setup
	@[ tests/fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock tests/fuzz/Cargo.lock
	CUSTOM_LIBFUZZER_PATH=none/libfuzzer.a cargo check --quiet --manifest-path tests/fuzz/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target}
check-kernel: setup
	$(KERNEL_CARGO) build --quiet -p kernel --profile kernel
	cargo run --quiet -p check -- --kernel $${CARGO_TARGET_DIR:-target}/x86_64-unknown-none/kernel/kernel

.PHONY: prepush
prepush: check test ## What must pass before a push.

.PHONY: loom
loom: setup ## Check the lock-free code under every interleaving.
	RUSTFLAGS='--cfg loom' cargo test --release -p sync -p sched -p vdso --target-dir $${CARGO_TARGET_DIR:-target}/loom

.PHONY: bench-disk
bench-disk: setup ## Files of a disk on Nacre and on a Linux guest; writes docs/DISK-FIGURES.md.
	@scripts/bench-disk.sh

.PHONY: powercut
powercut: setup ## Cut the power of machines that keep data, at POINTS=1000 points each: SEED=1 SCENARIOS="appends sqlite-wal".
	@cargo run --quiet --release -p powercut -- $(or $(POINTS),1000) $(or $(SEED),1) $(SCENARIOS)

.PHONY: soak
soak: setup ## Torture threads in a machine: MINUTES=30 CPUS=4 SEED=1.
	@scripts/soak.sh

.PHONY: soak-net
soak-net: ## Let COUNT=1000000 connections come and go between two network stacks on this host.
	@cargo run --quiet --release -p netsim --bin bench-tcp -- churn $${COUNT:-1000000}

.PHONY: bench
bench: setup ## Measure, and write docs/bench; ROWS="tcp read": instructions of these alone.
	@scripts/bench.sh

.PHONY: bench-check bench-update
bench-check: setup ## Compare the instructions of system calls with tests/bench/counts.txt.
	@scripts/bench-counts.sh check
bench-update: setup ## Make the instructions of system calls what they are compared with.
	@scripts/bench-counts.sh update

.PHONY: kernel-pgo
kernel-pgo: setup ## Count which code of the kernel runs, and write kernel/pgo.gz, by which it is compiled.
	@scripts/kernel-pgo.sh

.PHONY: bench-net
bench-net: setup ## Measure the network, and write docs/NET-FIGURES.md.
	@scripts/bench-net.sh

.PHONY: bench-locks
bench-locks: setup ## Count which locks flows of the network wait for, and write it into docs/TCP.md.
	@scripts/bench-locks.sh

.PHONY: report-sites
report-sites: setup ## Say which system calls of real programs are rewritten, and write docs/REWRITING.md.
	@scripts/report-sites.sh

.PHONY: fuzz
fuzz: ## Fuzz FUZZ=elf, classify, frames, ext, fat, partitions, directory, archive, ninep or walk until stopped; needs a nightly compiler and cargo-fuzz.
	@cargo +nightly fuzz --version >/dev/null 2>&1 || { echo 'fuzz: a nightly compiler and cargo-fuzz are needed' >&2; exit 1; }
	scripts/fuzz-corpus.sh $${FUZZ:-elf}
	cargo +nightly fuzz run --fuzz-dir tests/fuzz $${FUZZ:-elf}

.PHONY: bench-tcp
bench-tcp: ## Measure TCP engines over lossy links beside Linux, and write docs/TCP.md.
	@cargo run --quiet --release -p netsim --bin bench-tcp -- docs/TCP.md
