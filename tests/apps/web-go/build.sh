#!/bin/bash
# An HTTP server and client on Go's standard library, with the compiler that PyPI has.
app=web-go
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    find_go
    cp "$script_dir"/source/* .
    "$GOROOT/bin/go" build -trimpath -ldflags '-s -w' -o "$out/web" .
}

finish
