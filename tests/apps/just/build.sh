#!/bin/bash
# just, a static position-independent Rust program. Recipes start processes; these cases only read, show and evaluate.
app=just
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    package=$(fetch_wheel rust-just==1.59.0 musllinux_1_2_x86_64 \
        55a22dbd38fb3491d221da1e45184d09460526fae73b845eb9cdfbefcf06822b)
    install -m 755 "$package/rust_just-1.59.0.data/scripts/just" "$out/just"
    mkdir "$out/licence"
    cp "$package"/*.dist-info/licenses/* "$out/licence"
    cp -r "$script_dir/root" "$out/root"
}

finish
