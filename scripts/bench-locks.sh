#!/usr/bin/env bash
# Counts how often locks are found taken while many flows are busy on two processors, with one pair of queues in the device and with two,
# and writes a table into docs/TCP.md. All of it happens in a network namespace of its own that ends with this script. It needs the rights to make one and to
# open /dev/net/tun.
#
#   FLOWS="2 16 64"    connections at once, of which each has a thread in the guest
#   SECONDS_EACH=5     how long each load lasts
#   DOCUMENT=docs/TCP.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

enter_own_network scripts/bench-locks.sh "$@"

target=$(absolute "$(target_directory)" "$PWD")
work=$target/bench-locks
flows=${FLOWS:-2 16 64}
seconds=${SECONDS_EACH:-5}
document=${DOCUMENT:-docs/TCP.md}
guest=10.77.3.2
rm -rf "$work"
mkdir -p "$work"
build_load_programs "$work"
build cargo build --release -p image-builder >&2
scripts/build-image.sh APP="$work/serve" OUT="$work/image.elf" >&2
ip link set lo up
machine=
trap '[ -z "$machine" ] || kill $machine 2>/dev/null || :' EXIT

# What a file in the guest says.
tell() {
    exec 3<>"/dev/tcp/$guest/7006"
    echo "read $1" >&3
    cat <&3
    exec 3>&-
}

# Lines "RANK COUNT", and of frames "frames COUNT".
state() {
    tell /proc/nacre/locks | tr -d :
    tell /proc/net/dev | awk '$1 == "eth0:" { print "frames", $3 + $11 }'
}

# One load: its name and what `load` is told. Lines of the output are "PAIRS LOAD RANK COUNT-IN-A-THOUSAND-FRAMES".
measure() {
    local name=$1
    shift
    echo "bench-locks: $pairs pairs, $name" >&2
    state > "$work/before"
    "$work/load" "$@" > "$work/said"
    state > "$work/after"
    awk -v name="$name" -v pairs="$pairs" 'FNR == NR { before[$1] = $2; next } { count[$1] = $2 - before[$1] }
        END { for (rank in count) if (rank != "frames") printf "%s %s %s %.4f\n", pairs, name, rank, 1000 * count[rank] / count["frames"] }' \
        "$work/before" "$work/after" >> "$work/results"
}

loads=()
for count in $flows; do loads+=("echo_$count"); done
many=${flows##* }
loads+=("to_guest_$many" "from_guest_$many")
for pairs in 1 2; do
    kind=vnet_hdr
    [ "$pairs" = 1 ] || kind='vnet_hdr multi_queue'
    # shellcheck disable=SC2086 # Several words.
    ip tuntap add dev "tap$pairs" mode tap $kind || { echo 'bench-locks: /dev/net/tun gives no TAP' >&2; exit 1; }
    ip address add 10.77.3.1/24 dev "tap$pairs"
    ip link set "tap$pairs" up
    IMAGE=$work/image.elf MACHINE=q35 CPUS=2 MEM=512M NET="tap:tap$pairs,queues=$pairs" NETCFG=$guest/24 \
        "$target/release/nacre-run" > "$work/console" 2>&1 </dev/null &
    machine=$!
    "$work/load" wait $guest 7006 60 || { cat "$work/console" >&2; exit 1; }
    for count in $flows; do measure "echo_$count" echo $guest 7001 "$count" 4 "$seconds"; done
    measure "to_guest_$many" send $guest 7002 "$many" "$seconds"
    measure "from_guest_$many" receive $guest 7003 "$many" "$seconds"
    kill $machine
    wait $machine 2>/dev/null || :
    machine=
    ip link delete "tap$pairs"
done

{
    echo
    printf '| rank |'
    for pairs in 1 2; do for load in "${loads[@]}"; do printf ' %s, %s |' "$(tr _ ' ' <<< "$load")" "$([ "$pairs" = 1 ] && echo '1 pair' || echo '2 pairs')"; done; done
    printf '\n|---|'
    for pairs in 1 2; do for load in "${loads[@]}"; do printf -- '---|'; done; done
    echo
    awk -v loads="${loads[*]}" '{ value[$1, $2, $3] = $4; if ($4 >= 0.05) shown[$3] = 1 }
        END { count = split(loads, load, " ")
            for (rank in shown) {
                line = "| " rank " |"
                for (pairs = 1; pairs <= 2; pairs++) for (i = 1; i <= count; i++) {
                    found = value[pairs, load[i], rank] + 0
                    line = line (found < 0.05 ? " 0 |" : sprintf(found < 10 ? " %.1f |" : " %.0f |", found))
                }
                print line
            } }' "$work/results" | sort
    echo
} > "$work/table"
awk -v table="$work/table" '/^<!-- locks: / { print; while ((getline line < table) > 0) print line; skips = 1 }
    /^<!-- end of locks -->/ { skips = 0 } !skips' "$document" > "$work/document"
cp "$work/document" "$document"
cat "$work/table"
