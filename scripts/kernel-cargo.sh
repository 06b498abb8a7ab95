#!/usr/bin/env bash
# Runs cargo for the kernel's target: `scripts/kernel-cargo.sh build -p kernel --profile kernel`.
# It adds the target, and the private standard library if setup.sh had to build one.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || { echo "usage: kernel-cargo.sh COMMAND [ARGUMENT...]" >&2; exit 2; }
command=$1
shift
config=()
[ ! -f "$root/target/kernel-cargo.toml" ] || config=(--config "$root/target/kernel-cargo.toml")
exec cargo "$command" "${config[@]}" --target x86_64-unknown-none "$@"
