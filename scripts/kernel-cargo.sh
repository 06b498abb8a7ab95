#!/usr/bin/env bash
# Runs cargo for the kernel's target: `scripts/kernel-cargo.sh build -p kernel --profile kernel`.
# It adds the target, and the private standard library if setup.sh had to build one.
#
# A build in the profile `kernel` is guided by how often each piece of code ran when that was counted: kernel/pgo.gz, which kernel-pgo.sh makes.
# The compiler finds functions there by their mangled names, in which a crate is told from others of its name by a number that only
# this compiler knows. The numbers of the last build are taken, at first those of the build that was counted (kernel/pgo.crates); if the
# new kernel has other ones, it is compiled once more. PGO=off builds what is to be counted.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -gt 0 ] || { echo "usage: kernel-cargo.sh COMMAND [ARGUMENT...]" >&2; exit 2; }
command=$1
shift
config=()
[ ! -f "$root/target/kernel-cargo.toml" ] || config=(--config "$root/target/kernel-cargo.toml")
run_cargo() { cargo "$command" "${config[@]}" --target x86_64-unknown-none "$@"; }

case " $command $* " in
" build "*" --profile kernel "*) ;;
*) run_cargo "$@"; exit ;;
esac

target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
work=$target/kernel-pgo
kernel=$target/x86_64-unknown-none/kernel/kernel
mkdir -p "$work"

# The names of crates as kernel $1 has them: lines "C3net Cs1fQGHyYFKPV_3net". A number says how long the name behind it is.
list_crates() {
    nm "$1" | awk '{
        rest = $3
        while (match(rest, /Cs[0-9A-Za-z]+_[0-9]+/)) {
            crate = substr(rest, RSTART, RLENGTH)
            rest = substr(rest, RSTART + RLENGTH)
            split(crate, part, "_")
            name = substr(rest, substr(rest, 1, 1) == "_" ? 2 : 1, part[2])
            print "C" part[2] name, crate name
        }
    }' | sort -u
}

# Writes the profile with the names that $work/crates has, unless it is there.
write_profile() {
    sed -n 's|^\(C[0-9]*[A-Za-z0-9_]*\) \(Cs.*\)$|s/\1/\2/g|p' "$work/crates" > "$work/crates.sed"
    zcat "$root/kernel/pgo.gz" | sed -f "$work/crates.sed" > "$work/profile.new"
    cmp -s "$work/profile.new" "$work/profile" || mv "$work/profile.new" "$work/profile"
    rm -f "$work/profile.new"
}

# Functions that never ran are cold: little is inlined there, and what repeats among them becomes functions of its own. That more than makes
# room for what is inlined where code is hot, of which a callee may be a third as large as the compiler would allow.
flags='"-Csymbol-mangling-version=v0", "-Zdebug-info-for-profiling"'
if [ "${PGO:-on}" != off ]; then
    flags+=", \"-Zprofile-sample-use=$work/profile\""
    for option in profile-sample-accurate inline-threshold=18 hot-callsite-threshold=1000 sample-profile-hot-inline-threshold=1000 \
        enable-machine-outliner=conservative-pgo; do
        # A compiler that knows it not does without.
        ! rustc "-Cllvm-args=-$option" --print=cfg >/dev/null 2>&1 || flags+=", \"-Cllvm-args=-$option\""
    done
fi
config+=(--config "target.x86_64-unknown-none.rustflags=[$flags]")
# Profiles of samples are an unstable option of the compiler, though none of the language.
export RUSTC_BOOTSTRAP=1

if [ "${PGO:-on}" = off ]; then
    run_cargo "$@"
    exit
fi
[ -f "$work/crates" ] || cp "$root/kernel/pgo.crates" "$work/crates"
write_profile
run_cargo "$@"
[ "$kernel" -nt "$work/checked" ] || exit 0
list_crates "$kernel" | sort -s -u -k 1,1 - "$work/crates" > "$work/crates.new"
mv "$work/crates.new" "$work/crates"
write_profile
[ "$work/profile" -ot "$kernel" ] || run_cargo "$@"
touch "$work/checked"
