# Shared by the build scripts of this folder; sourced, never run.
#
# A build script sets `app` (and `also`, files and folders of the repository besides its own that it depends on), sources this file and defines `build`, which is called in an empty scratch folder and puts
# the program and what it needs into "$out". `finish` skips the work when nothing changed since the last build.
#
# Sources are pinned by the SHA-256 of the upstream archive. They come from the Debian mirror this machine is set up
# for, through private package lists: nothing is installed and the machine's configuration is not touched.

set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
apps=${APPS_DIR:-$repository/target/apps}
script_dir=$(cd "$(dirname "$0")" && pwd)
out=$apps/$app
jobs=${JOBS:-$(nproc)}

# The release the pinned sources belong to.
suite=bookworm

say() { printf '%s: %s\n' "$app" "$*" >&2; }

# Exit status 77 means: this machine cannot build it, which is no failure of the project.
cannot() {
    say "$*"
    exit 77
}

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || cannot "needs $tool (run make setup)"
    done
}

check_sha256() { # FILE SHA256
    echo "$2  $1" | sha256sum --check --quiet --strict - >&2
}

# Private package lists with sources, shared by all scripts and made once.
apt_options() {
    local base=$apps/.apt
    printf '%s\n' -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$base/parts" \
        -o "Dir::State::lists=$base/lists" -o "Dir::Cache=$base/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Debug::NoLocking=1 -q
}

# Writes a sources file for the pinned release from the first Debian archive the machine is configured with.
write_sources() { # FILE
    local deb822=/etc/apt/sources.list.d/debian.sources uri
    if [ -f "$deb822" ]; then
        awk -v suite="$suite" 'BEGIN { RS = ""; ORS = "\n\n" }
            NR == 1 { gsub(/(^|\n)#[^\n]*/, ""); sub(/Types:[^\n]*/, "Types: deb deb-src")
                      sub(/Suites:[^\n]*/, "Suites: " suite); print }' "$deb822" >"$1"
    else
        uri=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z]+:\/\//) { print $i; exit } }' \
            /etc/apt/sources.list 2>/dev/null || true)
        [ -n "$uri" ] || cannot "finds no Debian archive in the configuration of apt"
        printf 'Types: deb deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
            "$uri" "$suite" /usr/share/keyrings/debian-archive-keyring.gpg >"$1"
    fi
}

apt_update() {
    command -v apt-get >/dev/null || cannot "needs apt-get: its sources come from Debian's source packages"
    mkdir -p "$apps"
    (
        flock 9
        [ ! -f "$apps/.apt/ready-$suite" ] || exit 0
        rm -rf "$apps/.apt"
        mkdir -p "$apps/.apt/lists/partial" "$apps/.apt/parts" "$apps/.apt/cache/archives/partial"
        write_sources "$apps/.apt/parts/source.sources"
        mapfile -t options < <(apt_options)
        say "reading the package lists"
        apt-get "${options[@]}" update >"$apps/.apt/log" 2>&1 || { tail -5 "$apps/.apt/log" >&2; exit 1; }
        touch "$apps/.apt/ready-$suite"
    ) 9>"$apps/.apt.lock"
}

# Downloads the upstream archive of a source package and checks it. Only the archive's hash is pinned, so a new Debian
# revision of the same upstream version still serves.
fetch_source() { # PACKAGE ARCHIVE SHA256 -> path of the archive on stdout
    local cache=$apps/.sources options
    mkdir -p "$cache"
    if [ ! -f "$cache/$2" ]; then
        apt_update
        mapfile -t options < <(apt_options)
        say "downloading $2"
        rm -rf "$cache/$1.new"
        mkdir "$cache/$1.new"
        (cd "$cache/$1.new" && apt-get "${options[@]}" source --download-only --tar-only "$1" >log 2>&1) ||
            { tail -5 "$cache/$1.new/log" >&2; return 1; }
        [ -f "$cache/$1.new/$2" ] || { say "the package no longer has $2"; return 1; }
        check_sha256 "$cache/$1.new/$2" "$3"
        mv "$cache/$1.new/$2" "$cache/$2"
        rm -rf "$cache/$1.new"
    fi
    check_sha256 "$cache/$2" "$3"
    printf '%s\n' "$cache/$2"
}

unpack() { # ARCHIVE: into the current folder, without its leading folder
    tar -x --strip-components=1 --no-same-owner -f "$1"
}

# musl-gcc with the kernel's headers, which musl does not bring. Prints the compiler's command line.
musl_compiler() {
    need musl-gcc
    local links=$apps/.kernel-headers name
    if [ ! -d "$links" ]; then
        rm -rf "$links.$$"
        mkdir -p "$links.$$"
        for name in linux asm-generic mtd; do
            [ ! -d "/usr/include/$name" ] || ln -s "/usr/include/$name" "$links.$$/$name"
        done
        ln -s "$(dirname "$(find /usr/include -path '*asm/unistd_64.h' -print -quit)")" "$links.$$/asm"
        mv -T "$links.$$" "$links" 2>/dev/null || rm -rf "$links.$$"
    fi
    printf 'musl-gcc -static -idirafter %s' "$links"
}

# Builds unless nothing changed since the last build. The build runs in a shell of its own, since the shell's "stop at
# the first error" does not work inside a condition.
finish() {
    local stamp scratch log started=$SECONDS status=0
    if [ "${BUILD_STEP-}" = inner ]; then
        build
        return
    fi
    # What the build depends on; manifests are not part of it.
    stamp=$(cd "$script_dir" && find "$repository/tests/apps/lib.sh" build.sh $(ls -d source root musl 2>/dev/null) ${also:-} -type f \
        -exec sha256sum {} + |
        LC_ALL=C sort | sha256sum)
    stamp=${stamp%% *}
    mkdir -p "$apps"
    # Two runs of the tests may want the same program at once.
    exec 8>"$apps/.lock-$app"
    flock 8
    if [ "$(cat "$out/.stamp" 2>/dev/null || true)" = "$stamp" ]; then
        return 0
    fi
    scratch=$apps/.build-$app
    log=$apps/$app.log
    rm -rf "$scratch" "$out"
    mkdir -p "$scratch" "$out"
    say "building"
    (cd "$scratch" && BUILD_STEP=inner bash "$script_dir/build.sh") >"$log" 2>&1 8>&- || status=$?
    if [ "$status" != 0 ]; then
        say "failed with status $status; the end of $log:"
        tail -20 "$log" >&2
        return "$status"
    fi
    rm -rf "$scratch"
    printf '%s\n' "$stamp" >"$out/.stamp"
    say "built in $((SECONDS - started)) s"
}
