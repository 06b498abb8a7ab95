# Shared by the scripts; to be sourced. The working directory is the project's own.

# Takes VAR=value arguments as if they were set in the environment; the first other argument is left in `operand`.
read_settings() {
    local argument
    operand=
    for argument in "$@"; do
        if [[ $argument =~ ^[A-Z_]+= ]]; then
            export "${argument?}"
        elif [ -z "$operand" ] && [[ $argument != -* ]]; then
            operand=$argument
        else
            return 1
        fi
    done
}

# Runs a cargo command; what it compiles is shown, that it had nothing to do is not.
build() {
    { "$@" 2>&1 1>&3 | { grep --line-buffered -vE '^ *(Finished|Blocking)' >&2 || :; } } 3>&1
}

# Where cargo puts what it builds.
target_directory() {
    echo "${CARGO_TARGET_DIR:-target}"
}

# Prints an absolute path: the scripts change directory, the user's paths are relative to where he is.
absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$2/$1" ;;
    esac
}

# Goes on in a network namespace of its own, which ends with the script: `enter_own_network scripts/NAME.sh "$@"`. That runs the script once
# more, by its path from here, wherever the user was.
enter_own_network() {
    local script=$1 own=(unshare --net) name
    shift
    [ -z "${IN_OWN_NETWORK:-}" ] || return 0
    name=$(basename "$script" .sh)
    [ "$(id -u)" = 0 ] || own=(unshare --user --map-root-user --net)
    "${own[@]}" true 2>/dev/null || { echo "$name: no rights to make a network namespace" >&2; exit 1; }
    IN_OWN_NETWORK=1 exec "${own[@]}" "$script" "$@"
}

# Compiles what serves and what loads in benchmarks of the network, into a directory.
build_load_programs() {
    local program
    for program in serve load; do
        musl-gcc -static -O2 -o "$1/$program" "tests/bench/net/$program.c"
    done
}

# Compiles a plugin of the emulator, tests/bench/plugins/NAME.c, into a directory.
build_plugin() {
    local version
    # The plugins of QEMU 9.1 and later are of version 3 and more.
    version=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
    gcc -shared -fPIC -O2 -DPLUGIN_VERSION=$((version < 9 ? 1 : 2)) -o "$2/$1.so" "tests/bench/plugins/$1.c"
}
