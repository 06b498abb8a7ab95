#!/bin/bash
# Builds every program of this folder, or those named, two at a time. Prints the names that this machine cannot build;
# fails when a build fails.
set -uo pipefail
cd "$(dirname "$0")"

# The longest builds first.
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(coreutils web-tokio web-go redis memcached nginx cpp busybox sqlite cpp-threads lua rust-threads ripgrep esbuild shellcheck just soak)

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export results
printf '%s\n' "${names[@]}" |
    JOBS=${JOBS:-2} xargs -P 2 -I NAME bash -c 'bash NAME/build.sh; echo $? >"$results/NAME"'

failed=0
for name in "${names[@]}"; do
    case $(cat "$results/$name" 2>/dev/null) in
    0) ;;
    77) echo "$name: cannot be built on this machine" ;;
    *) failed=1 ;;
    esac
done
exit $failed
