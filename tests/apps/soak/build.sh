#!/bin/bash
# The soak, and a program with ten thousand threads.
app=soak
. "$(dirname "$0")/../lib.sh"

build() {
    compiler=$(musl_compiler)
    $compiler -O2 -g -Wall -Wextra -Werror -o "$out/soak" "$script_dir"/source/{soak,locks,futexes,signals,files,memory,threads}.c
    $compiler -O2 -g -Wall -Wextra -Werror -o "$out/crowd" "$script_dir"/source/crowd.c
}

finish
