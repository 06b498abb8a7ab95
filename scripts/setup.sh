#!/usr/bin/env bash
# Makes this machine able to build, run and test Nacre. Says nothing when there is nothing to do.
#
# On a Debian-like system it installs what is missing, elsewhere it prints what to install. The standard library for the
# kernel's target is taken from the toolchain if it is there, and built from source if not (see kernel-target.sh).
# Nothing is ever asked of rustup: which toolchain is installed is the user's decision.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUST_VERSION_MIN=1.90

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# What is needed: a command, the Debian package that has it, and what it is called elsewhere.
needs=(
    "cc|gcc libc6-dev|a C compiler (gcc or clang)"
    "make|make|GNU make"
    "qemu-system-x86_64|qemu-system-x86|QEMU 7.0 or later with qemu-system-x86_64"
    "musl-gcc|musl-tools|musl with its musl-gcc wrapper (for tests/binaries)"
    "e2fsck|e2fsprogs|e2fsprogs (mke2fs and e2fsck, for tests of file systems)"
    "fsck.fat|dosfstools|dosfstools (mkfs.fat and fsck.fat, for tests of file systems)"
    "memccapable|libmemcached-tools|libmemcached's tools (memccapable, for tests of memcached)"
    "mcopy|mtools|mtools (mcopy and mtype, for tests of file systems)"
)

check_rust() {
    local version
    command -v cargo >/dev/null && command -v rustc >/dev/null ||
        fail "Rust $RUST_VERSION_MIN or later is needed: see https://rustup.rs, or your system's packages"
    version=$(rustc --version | awk '{print $2}')
    [ "$(printf '%s\n' "$RUST_VERSION_MIN" "${version%%-*}" | sort -V | head -n 1)" = "$RUST_VERSION_MIN" ] ||
        fail "Rust $version is too old, $RUST_VERSION_MIN or later is needed"
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "the build host must be Linux on x86-64, this is $(uname -sm)"
}

install_packages() {
    local missing=("$@") as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    command -v "${as_root[0]:-env}" >/dev/null || fail "run as root: apt-get install --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    # Package lists may be absent (a fresh container) or old; they are fetched again only when an install needs it.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >&2 2>/dev/null ||
        { "${as_root[@]}" apt-get update >&2 &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >&2; } ||
        fail "could not install ${missing[*]}"
}

check_tools() {
    local need command package name packages=() names=()
    for need in "${needs[@]}"; do
        IFS='|' read -r command package name <<<"$need"
        command -v "$command" >/dev/null && continue
        # shellcheck disable=SC2206 # A command may need several packages.
        packages+=($package)
        names+=("$name")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    if command -v apt-get >/dev/null; then
        install_packages "${packages[@]}"
    else
        say "please install:"
        printf '  %s\n' "${names[@]}" >&2
        exit 1
    fi
}

check_rust
check_tools
scripts/kernel-target.sh
