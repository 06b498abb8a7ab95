#!/bin/bash
# Programs of tests/binaries and others of its own, linked with the C library of libc-shim, whose system calls are function calls.
app=shim
. "$(dirname "$0")/../lib.sh"
programs="hello cancel_points clone_thread futex_calls pthread_cancel pthread_cancel_points pthread_create signal_restart
    signal_threads socket_tcp fs_gs_base syscall_registers poll_signals"
also="$repository/libc-shim/musl $repository/libc-shim/build.sh $repository/libc-shim/README.md $repository/tests/binaries"

build() {
    for program in $programs; do
        bash "$repository/scripts/nacre-gcc" -static -O2 -o "$out/$program" "$repository/tests/binaries/$program.c"
    done
    # The example of the README.
    awk '/^```/ { is_code = $0 == "```c"; next } is_code' "$repository/libc-shim/README.md" >readme.c
    for program in "$script_dir"/source/*.c readme.c; do
        bash "$repository/scripts/nacre-gcc" -static -O2 -Wall -Wextra -Wno-unused-parameter -Werror -idirafter /usr/include \
            -idirafter "$(dirname "$(find /usr/include -path '*asm/unistd_64.h' -print -quit)")/.." -o "$out/$(basename "$program" .c)" "$program"
    done
}

finish
