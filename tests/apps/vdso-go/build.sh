#!/bin/bash
# A program that asks Go's run time for the time, with the compiler that PyPI has.
app=vdso-go
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    find_go
    cp "$script_dir"/source/* .
    "$GOROOT/bin/go" build -trimpath -ldflags '-s -w' -o "$out/clock" clock.go
}

finish
