#!/usr/bin/env bash
# Makes sure that rustc has core and alloc for the kernel's target.
#
# If the toolchain has the target installed, there is nothing to do. Otherwise the library is compiled from the sources of
# exactly this compiler into target/kernel-sysroot: from the toolchain's rust-src component if it is there, else from
# Debian's rust-src package of the same version, which is downloaded and unpacked here without being installed.
# Cargo learns about the private library from target/kernel-cargo.toml, which kernel-cargo.sh passes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TRIPLE=x86_64-unknown-none
readonly SYSROOT=$PWD/target/kernel-sysroot
readonly CARGO_CONFIG=$PWD/target/kernel-cargo.toml
readonly LOG=$PWD/target/kernel-sysroot.log

say() { printf 'setup: %s\n' "$*" >&2; }

give_up() {
    say "$*"
    say "the standard library for $TRIPLE is missing; install it with: rustup target add $TRIPLE"
    exit 1
}

# Prints the directory of the compiler's own library sources, if they are installed.
installed_source() {
    local library
    library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
    if [ -f "$library/core/src/lib.rs" ]; then
        readlink -f "$library"
    fi
}

# Prints the address of a mirror of Debian, from the system's package sources: lines `deb [options] URI suite ...` and
# stanzas with `URIs: URI`.
debian_mirror() {
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || :; } |
        sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p; s/^URIs: *([^ ]+).*/\1/p' | grep -m 1 '/debian/*$'
}

# Downloads Debian's rust-src of version $2 below directory $1 and prints the library's directory. The package lists are
# private: neither the system's lists nor its packages change, and no rights are needed.
debian_source() {
    local work=$1 version=$2 mirror suite package found=
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local apt_options=(
        -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$work/sources" -o "Dir::State::lists=$work/lists"
        -o "Dir::Cache=$work/cache" -o "Acquire::Languages=none"
    )
    mirror=$(debian_mirror) || return 1
    [ "$(id -u)" != 0 ] || apt_options+=(-o "APT::Sandbox::User=root")
    mkdir -p "$work"/{sources,lists/partial,cache/archives/partial,unpacked}
    # The backports keep several versions, and their lists are small.
    for suite in stable-backports oldstable-backports testing unstable; do
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nTargets: Packages\nSigned-By: %s\n' \
            "$mirror" "$suite" "$keyring" >"$work/sources/rust.sources"
        apt-get "${apt_options[@]}" -q update >>"$LOG" 2>&1 || continue
        package=$(apt-cache "${apt_options[@]}" madison rust-src |
            awk -v version="$version" '{ split($3, parts, "+"); if (parts[1] == version) { print $3; exit } }')
        if [ -n "$package" ]; then
            found=$suite
            break
        fi
    done
    [ -n "$found" ] || return 1
    say "downloading the sources of the Rust $version library"
    (cd "$work" && apt-get "${apt_options[@]}" -q download "rust-src=$package") >>"$LOG" 2>&1 || return 1
    dpkg-deb --fsys-tarfile "$work"/rust-src_*.deb | tar -x -C "$work/unpacked" "./usr/src/rustc-$version/library" || return 1
    echo "$work/unpacked/usr/src/rustc-$version/library"
}

# Compiles the library in directory $1 for compiler $2 (its commit) of version $3.
build() {
    local library=$1 commit=$2 version=$3 staging=$SYSROOT.new
    local directory=$staging/lib/rustlib/$TRIPLE/lib
    rm -rf "$staging"
    mkdir -p "$directory"
    local flags=(
        --target "$TRIPLE" --edition 2024 --crate-type rlib --cap-lints allow
        -Copt-level=3 -Ccodegen-units=1 -Cembed-bitcode=yes -Cdebuginfo=1 -Cforce-frame-pointers=yes
        -Zforce-unstable-if-unmarked "-Cextra-filename=-$version" "-Cmetadata=$commit"
        "--remap-path-prefix=$library=/rustc/$commit/library" --sysroot "$staging" --out-dir "$directory"
    )
    compile() { RUSTC_BOOTSTRAP=1 rustc "${flags[@]}" "$@" >>"$LOG" 2>&1; }
    say "building core and alloc for $TRIPLE (about half a minute)"
    compile --crate-name core "$library/core/src/lib.rs" &&
        compile --crate-name compiler_builtins "$library/compiler-builtins/compiler-builtins/src/lib.rs" \
            --cfg 'feature="compiler-builtins"' --cfg 'feature="mem"' --cfg 'feature="unstable-intrinsics"' \
            --cfg intrinsics_enabled --cfg arch_enabled --cfg optimizations_enabled &&
        compile --crate-name alloc "$library/alloc/src/lib.rs" || return 1
    echo "$commit" >"$staging/id"
    rm -rf "$SYSROOT"
    mv "$staging" "$SYSROOT"
}

if ls "$(rustc --print target-libdir --target "$TRIPLE")"/libcore-*.rlib >/dev/null 2>&1; then
    rm -f "$CARGO_CONFIG"
    exit 0
fi

version=$(rustc --version | awk '{print $2}')
commit=$(rustc --version --verbose | awk '/^commit-hash/ {print $2}')
if [ "$(cat "$SYSROOT/id" 2>/dev/null)" != "$commit" ]; then
    mkdir -p target
    : >"$LOG"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    library=$(installed_source)
    if [ -z "$library" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        library=$(debian_source "$work" "$version") || give_up "no package with the sources of Rust $version was found"
    fi
    [ -n "$library" ] || give_up "the sources of the Rust $version library are not installed"
    build "$library" "$commit" "$version" || give_up "building them failed, see ${LOG#"$PWD"/}"
fi
printf '[target.%s]\nrustflags = ["--sysroot=%s"]\n' "$TRIPLE" "$SYSROOT" >"$CARGO_CONFIG.new"
if ! cmp -s "$CARGO_CONFIG.new" "$CARGO_CONFIG"; then
    mv "$CARGO_CONFIG.new" "$CARGO_CONFIG"
fi
rm -f "$CARGO_CONFIG.new"
