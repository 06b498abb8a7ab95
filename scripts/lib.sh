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
