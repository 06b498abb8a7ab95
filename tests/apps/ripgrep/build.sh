#!/bin/bash
# ripgrep, a static position-independent Rust program, and a tree of 5,000 files for it to search.
app=ripgrep
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

# Fifty folders of a hundred files, the same on every machine: text of a small vocabulary, some files with a zero byte,
# some hidden, some that an ignore file names.
make_tree() { # FOLDER
    local folder
    for folder in {00..49}; do
        mkdir -p "$1/part$folder/deep"
        printf '*.log\nskipped/\n' >"$1/part$folder/.ignore"
    done
    awk -v tree="$1" '
        BEGIN {
            split("the pearl is smooth between shell and animal layer upon layer of thin bright plates NEEDLE fn main { } " \
                  "return struct impl 0x1f 42 naïve café über end", words, " ")
            count = length(words)
            seed = 12345
            for (number = 0; number < 5000; number++) {
                name = sprintf("%s/part%02d/%s%s%04d.%s", tree, int(number / 100), number % 7 == 3 ? "deep/" : "",
                               number % 41 == 5 ? ".hidden" : "file", number,
                               number % 11 == 4 ? "log" : number % 3 ? "txt" : "rs")
                lines = 4 + number % 37
                for (line = 1; line <= lines; line++) {
                    text = ""
                    for (word = 0; word < 9; word++) {
                        seed = (seed * 1103 + 12347) % 1048573
                        text = text words[1 + seed % count] " "
                    }
                    printf "%d %s\n", line, text > name
                }
                if (number % 53 == 7)
                    printf "%c binary NEEDLE\n", 0 > name
                close(name)
            }
        }'
    find "$1" -exec touch -d '2024-01-02 03:04:05Z' {} +
}

build() {
    package=$(fetch_wheel ripgrep==14.1.0 musllinux_1_2_x86_64 \
        d20c74dfa4b1085712ffc6528eb10cdccf4022050539053a5f9203f3959b34e0)
    install -m 755 "$package/ripgrep-14.1.0.data/scripts/rg" "$out/rg"
    mkdir "$out/licence" "$out/root"
    cp "$package"/*.dist-info/license_files/* "$out/licence"
    make_tree "$out/root/tree"
}

finish
