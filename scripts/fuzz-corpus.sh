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
fat)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/A directory/below"
    seq 2000 >"$scratch/A directory/A file with a long name"
    echo contents >"$scratch/A directory/below/SHORT.TXT"
    number=0
    while read -r bits cluster kibibytes; do
        image=$corpus/$number
        rm -f "$image"
        mkfs.fat -F "$bits" -s "$cluster" -C "$image" "$kibibytes" >/dev/null 2>&1
        # mtools takes no volume of 32 bits that is so small: it stays empty.
        mcopy -s -i "$image" "$scratch/A directory" :: 2>/dev/null || [ "$bits" = 32 ]
        number=$((number + 1))
    done <<<'12 1 512
12 4 512
16 1 2200
32 1 512'
    ;;
partitions)
    # A table with a partition and a chain of two more in an extended one, behind the byte that says whether the target makes a table
    # of GPT of the rest.
    image=$corpus/0
    truncate -s $((1 + 65536)) "$image"
    # put SECTOR ENTRY TYPE FIRST COUNT: an entry of the table in a sector, with numbers of less than 256.
    put() {
        printf "\\x0\\x0\\x0\\x0\\x$3\\x0\\x0\\x0\\x$(printf %x "$4")\\x0\\x0\\x0\\x$(printf %x "$5")\\x0\\x0\\x0" |
            dd of="$image" bs=1 seek=$((1 + $1 * 512 + 446 + $2 * 16)) conv=notrunc status=none
        printf '\x55\xaa' | dd of="$image" bs=1 seek=$((1 + $1 * 512 + 510)) conv=notrunc status=none
    }
    put 0 0 83 1 20
    put 0 1 5 30 90
    put 30 0 83 2 20
    put 30 1 5 40 40
    put 70 0 83 2 20
    { printf '\x1'; tail -c +2 "$image"; } > "$corpus/1"
    ;;
ninep)
    # Servers without faults, which are asked for different things.
    for number in 1 2 3 4 5 6 7 8; do
        { printf "\\x0$number"; head -c 1000 /dev/zero; } >"$corpus/$number"
    done
    ;;
esac
