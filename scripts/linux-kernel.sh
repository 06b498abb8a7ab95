#!/usr/bin/env bash
# Prints the path of a Linux kernel to compare with: Debian's cloud kernel from its package, unpacked so that QEMU starts it
# through its PVH note; beside it, in `modules`, are the drivers of virtio's network and disks,
# and of FAT; ext4 is in the kernel. It is downloaded once and kept; the package lists are private, no rights are needed and nothing is
# installed. Fails, saying why, where there are no Debian packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

package=linux-image-cloud-amd64
work=$(target_directory)/linux
log=$work/log

fail() {
    echo "linux-kernel: $*" >&2
    [ ! -s "$log" ] || tail -n 3 "$log" >&2
    exit 1
}

if [ ! -f "$work/vmlinux" ] || [ ! -d "$work/modules" ]; then
    mkdir -p "$work"
    : > "$log"
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail 'needs apt-get and dpkg-deb'
    staging=$(absolute "$work" "$PWD")
    options=(-o "Dir::State::lists=$staging/lists" -o "Dir::Cache=$staging/cache" -o Acquire::Languages=none)
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked"
    apt-get "${options[@]}" -q update >>"$log" 2>&1 || fail 'cannot read the package lists'
    image=$(apt-cache "${options[@]}" depends "$package" 2>>"$log" | sed -n 's/^ *Depends: //p' | head -n 1)
    [ -n "$image" ] || fail "there is no package $package"
    echo "linux-kernel: downloading $image" >&2
    rm -f "$work"/*.deb
    (cd "$work" && apt-get "${options[@]}" -q download "$image") >>"$log" 2>&1 || fail "cannot download $image"
    dpkg-deb --fsys-tarfile "$work/$image"_*.deb | tar -x -C "$work/unpacked" --wildcards './boot/vmlinuz-*' \
        './lib/modules/*/kernel/drivers/*/*virtio*.ko' './lib/modules/*/failover.ko' './lib/modules/*/net_failover.ko' \
        './lib/modules/*/fs/fat/*fat.ko' './lib/modules/*/fs/nls/nls_cp437.ko' './lib/modules/*/fs/nls/nls_iso8859-1.ko' ||
        fail "$image contains no kernel"
    rm -rf "$work/modules"
    mkdir "$work/modules.new"
    find "$work/unpacked/lib" -name '*.ko' -exec mv -t "$work/modules.new" {} +
    build cargo build --release -p bench >&2
    "$(target_directory)/release/bench" unpack "$work"/unpacked/boot/vmlinuz-* "$work/vmlinux.new"
    mv "$work/vmlinux.new" "$work/vmlinux"
    mv "$work/modules.new" "$work/modules"
    rm -rf "$work"/{lists,cache,unpacked} "$work"/*.deb
    echo "$image" > "$work/version"
fi
echo "$work/vmlinux"
