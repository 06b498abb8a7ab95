#!/bin/bash
# A program that shows whether its C library calls the vDSO, linked statically against glibc.
app=vdso
. "$(dirname "$0")/../lib.sh"

build() {
    need gcc
    gcc -static -O2 -Wall -Wextra -o "$out/finds" "$script_dir/source/finds.c"
}

finish
