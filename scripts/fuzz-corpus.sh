#!/usr/bin/env bash
# Usage: fuzz-corpus.sh TARGET. Makes what fuzzing of a target begins from, in tests/fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${1:?usage: fuzz-corpus.sh TARGET}
corpus=tests/fuzz/corpus/$target
mkdir -p "$corpus"
case $target in
frames)
    cargo run --quiet --release -p netsim --bin bench-tcp -- corpus "$corpus"
    ;;
ext)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/tree/directory/below"
    echo contents >"$scratch/tree/directory/file"
    ln -s directory/file "$scratch/tree/link"
    seq -f 'name of a file %g' 60 | (cd "$scratch/tree/directory/below" && xargs -d '\n' touch)
    number=0
    while read -r options; do
        image=$scratch/image
        rm -f "$image"
        # shellcheck disable=SC2086
        mke2fs -q -F $options -b 1024 -N 96 -E lazy_itable_init=1 -d "$scratch/tree" "$image" 512K
        debugfs -w -R "ea_set /directory/file user.name value" "$image" 2>/dev/null
        # The number in front chooses what is done.
        { head -c 8 /dev/zero; cat "$image"; } >"$corpus/$number"
        number=$((number + 1))
    done <<<'-t ext2
-t ext2 -I 128 -O ^dir_index
-t ext4 -O ^metadata_csum,^has_journal
-t ext4 -O ^metadata_csum,^has_journal,^extents,^resize_inode
-t ext4 -O ^has_journal'
    ;;
ninep)
    # Servers without faults, which are asked for different things.
    for number in 1 2 3 4 5 6 7 8; do
        { printf "\\x0$number"; head -c 1000 /dev/zero; } >"$corpus/$number"
    done
    ;;
esac
