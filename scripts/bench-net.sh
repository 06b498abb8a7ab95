#!/usr/bin/env bash
# Measures what docs/NET-FIGURES.md shows, and writes it: the same static servers on Linux itself (over a pair of virtual
# interfaces), in a Linux guest and on Nacre (both over TAP, machine q35, virtio-net-pci without vhost, 1 GB), in turn, loaded
# from this machine. Everything happens in a network namespace of its own that ends with this script. It needs the
# rights to make one and to open /dev/net/tun.
#
#   ROUNDS=5                    boots of each system and server
#   SECONDS_EACH=3              how long each load lasts
#   SETS="1 2"                  numbers of processors of the guests
#   SYSTEMS="native linux nacre"
#   SERVERS="serve redis memcached nginx"
#   BLOCKS=DIRECTORY            nothing of that: how often each block of Nacre's kernel is executed during each load, for kernel-pgo.sh
#
# Of the guests' redis, memcached and nginx it counts as well how many instructions a request takes in the kernel and in the program,
# by a plugin of QEMU and in boots of their own, as that makes guests slower; idle processors halt there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

enter_own_network scripts/bench-net.sh "$@"

target=$(absolute "$(target_directory)" "$PWD")
work=$target/bench-net
results=$work/results
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
sets=${SETS:-1 2}
systems=${SYSTEMS:-native linux nacre}
servers=${SERVERS:-serve redis memcached nginx}
apps=${APPS_DIR:-$target/apps}
rm -rf "$results"
mkdir -p "$results"

build_load_programs "$work"
load=$work/load
counter=shares
[ -z "${BLOCKS:-}" ] || { counter=blocks systems=nacre rounds=0 && mkdir -p "$BLOCKS"; }
build_plugin $counter "$work"
for server in $servers; do
    [ ! -f "tests/apps/$server/build.sh" ] || bash "tests/apps/$server/build.sh"
done
build cargo build --release -p bench >&2
if [[ " $systems " == *" linux "* ]] && ! scripts/linux-kernel.sh >/dev/null; then
    echo 'No Linux guest ran here.' >> "$results/notes"
    systems=${systems/linux/}
fi
# One kernel for all of it, whatever happens to the sources meanwhile.
if [[ " $systems " == *" nacre "* ]]; then
    if [ -z "${KERNEL:-}" ]; then
        build scripts/kernel-cargo.sh build -p kernel --profile kernel >&2
        cp "$target/x86_64-unknown-none/kernel/kernel" "$work/kernel"
        export KERNEL=$work/kernel
    fi
    build cargo build --release -p image-builder >&2
fi
if command -v wrk >/dev/null; then has_wrk=1; else
    has_wrk=
    echo 'wrk is not installed: nginx is loaded by load.c.' >> "$results/notes"
fi

# The namespace: a TAP for each guest, and a second namespace behind a pair of interfaces for Linux itself.
declare -A address=([native]=10.77.0.2 [linux]=10.77.1.2 [nacre]=10.77.2.2)
ip link set lo up
# Or whoever loads the servers looks for a free port longer and longer, as connections of the last minute have nearly all.
sysctl -q -w net.ipv4.tcp_tw_reuse=1
for system in linux nacre; do
    ip tuntap add dev "tap-$system" mode tap vnet_hdr 2>/dev/null || ip tuntap add dev "tap-$system" mode tap ||
        { echo 'bench-net: /dev/net/tun gives no TAP' >&2; exit 1; }
    ip address add "${address[$system]%.2}.1/24" dev "tap-$system"
    ip link set "tap-$system" up
done
unshare --net sleep infinity &
far=$!
server_process=
trap 'kill $far $server_process 2>/dev/null || :' EXIT
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link add near type veth peer name eth0 netns $far
ip address add 10.77.0.1/24 dev near
ip link set near up
nsenter --target $far --net ip link set lo up
nsenter --target $far --net ip address add 10.77.0.2/24 dev eth0
nsenter --target $far --net ip link set eth0 up

# What each server is: its program, its files, its arguments (a line each), its port.
describe() {
    files= arguments=
    case $1 in
    serve) app=$work/serve port=7001 ;;
    redis)
        app=$apps/redis/redis-server port=6379
        arguments=$(printf '%s\n' --bind 0.0.0.0 --protected-mode no --save '' --appendonly no --loglevel warning)
        ;;
    memcached)
        app=$apps/memcached/memcached port=11211
        arguments=$(printf '%s\n' -u root -m 64 -c 1024 -t "$2" -U 0)
        ;;
    nginx)
        app=$apps/nginx/nginx port=80 files=$apps/nginx/root
        arguments=$(printf '%s\n' -g 'daemon off; master_process off;')
        ;;
    esac
}

start_native() {
    local words=()
    [ -z "$arguments" ] || mapfile -t words <<< "$arguments"
    if [ "$server" = nginx ]; then
        rm -rf "$work/native"
        cp -r "$files" "$work/native"
        words+=(-p "$work/native/" -c nginx.conf)
    fi
    (cd "$work" && exec nsenter --target $far --net "$app" "${words[@]}" </dev/null) > "$work/console" 2>&1 &
}

start_linux() {
    QEMU_ARGS=$plugin APP=$app FILES=$files ARGS=$arguments CPUS=$1 MEM=1G NET=tap:tap-linux NETCFG=10.77.1.2/24,gw=10.77.1.1 \
        scripts/run-linux.sh > "$work/console" 2>&1 </dev/null &
}

start_nacre() {
    local quoted=
    [ -z "$arguments" ] || quoted=$(while IFS= read -r word; do printf '"%s" ' "$word"; done <<< "$arguments")
    scripts/build-image.sh APP="$app" FILES="$files" ARGS="$quoted" OUT="$work/image.elf" >&2
    IDLE=$idle IMAGE=$work/image.elf ACCEL=tcg MACHINE=q35 CPUS=$1 MEM=1G NET=tap:tap-nacre \
        NETCFG=10.77.2.2/24,gw=10.77.2.1 QEMU_ARGS="-cpu ${BENCH_CPU:-max,-erms} $plugin" \
        "$target/release/nacre-run" > "$work/console" 2>&1 </dev/null &
}

# One load: the row's name, and what `load` is told. A line of the output is "row NAME VALUE".
row() {
    local name=$1 output
    shift
    if ! output=$(timeout $((${seconds%.*} + 30)) "$@" 2>&1); then
        echo "bench-net: $system, $name: ${output##*$'\n'}" >&2
        echo "**$system, $cpus processors, round $round: $name failed: ${output##*$'\n'}**" >> "$results/notes"
        return
    fi
    awk -v name="$name" '{ for (i = 1; i < NF; i += 2) {
        if ($i == "rate") print "row", name, $(i + 1); else if ($i == "p50" || $i == "p99") print "row", name "_" $i "_us", $(i + 1) } }' \
        <<< "$output" >> "$results/$system.$cpus.$round"
}

redis_benchmark() { # OPERATION DEPTH
    # As many requests as take about the time the others have, found by a short run.
    local rate count
    rate=$("$apps/redis/redis-benchmark" -h "$host" -t "$1" -c 16 -P "$2" -n $((1000 * $2)) --csv |
        awk -F'"' 'END { print int($4) }')
    count=$((rate * ${seconds%.*}))
    "$apps/redis/redis-benchmark" -h "$host" -t "$1" -c 16 -P "$2" -n $((count > 1000 ? count : 1000)) --csv |
        awk -F'"' 'END { print "rate", $4, "p50", $10 * 1000, "p99", $14 * 1000 }'
}

use_wrk() {
    wrk -t 1 -c 16 -d "${seconds%.*}s" --latency "http://$host:80/612.html" |
        awk '/Requests\/sec/ { rate = $2 } /Non-2xx/ { bad = 1 }
            END { if (bad || rate == "") exit 1; print "rate", rate }'
}

loads_of_serve() {
    row tcp_rr_1 "$load" rr "$host" 7001 1 "$seconds"
    row tcp_rr_1k "$load" rr "$host" 7001 1024 "$seconds"
    row udp_rr_1 "$load" udp "$host" 7005 1 "$seconds"
    row stream_to_guest "$load" send "$host" 7002 1 "$seconds"
    row stream_from_guest "$load" receive "$host" 7003 1 "$seconds"
    row streams_64_to_guest "$load" send "$host" 7002 64 "$seconds"
    row streams_64_from_guest "$load" receive "$host" 7003 64 "$seconds"
    row connect_close "$load" connect "$host" 7004 "$seconds"
}

loads_of_redis() {
    export -f redis_benchmark
    row redis_get_p1 env host="$host" apps="$apps" seconds="$seconds" bash -c 'redis_benchmark get 1'
    row redis_set_p1 env host="$host" apps="$apps" seconds="$seconds" bash -c 'redis_benchmark set 1'
    row redis_get_p16 env host="$host" apps="$apps" seconds="$seconds" bash -c 'redis_benchmark get 16'
}

loads_of_memcached() {
    row memcached_get_16x1 "$load" memcached "$host" 11211 16 1 "$seconds"
    row memcached_get_16x16 "$load" memcached "$host" 11211 16 16 "$seconds"
    row memcached_set_16x1 "$load" memcached "$host" 11211 16 1 "$seconds" set
}

loads_of_nginx() {
    row nginx_612_keep "$load" http "$host" 80 16 1 "$seconds" /612.html
    [ -z "$has_wrk" ] || { export -f use_wrk; row nginx_612_wrk env host="$host" seconds="$seconds" bash -c use_wrk; }
}

# What the plugin has counted so far: of the kernel and of the program.
counted() { od -A n -t u8 "$work/counters" | tr '\n' ' '; }

# One load: what the plugin counted before it and after it, for kernel-pgo.sh.
save_blocks() {
    local name=$1
    shift
    "$@" >/dev/null
    cp "$work/counters" "$BLOCKS/$name.before"
    "$@" >/dev/null
    cp "$work/counters" "$BLOCKS/$name.after"
}

# One load: how many instructions of each a request of it takes. The first time makes everything warm. A line of the output is
# "share NAME KERNEL PROGRAM".
share() {
    local name=$1 output before after
    if [ -n "${BLOCKS:-}" ]; then
        save_blocks "$@"
        return
    fi
    shift
    if ! "$@" >/dev/null 2>&1 || ! { before=$(counted) && output=$("$@" 2>&1) && after=$(counted); }; then
        echo "bench-net: $system, $name: ${output:-failed}" >&2
        echo "**$system: $name could not be counted.**" >> "$results/notes"
        return
    fi
    awk -v name="$name" -v before="$before" -v after="$after" '{ for (i = 1; i < NF; i += 2) if ($i == "count") count = $(i + 1) }
        END { split(before, b, " "); split(after, a, " ")
            if (count > 0) printf "share %s %.0f %.0f\n", name, (a[1] - b[1]) / count, (a[2] - b[2]) / count }' \
        <<< "$output" >> "$results/shares.$system"
}

redis_requests() { # OPERATION DEPTH COUNT
    "$apps/redis/redis-benchmark" -h "$host" -t "$1" -c 16 -P "$2" -n "$3" --csv >/dev/null && echo "count $3"
}

# Its loads are counted for kernel-pgo.sh alone: there is no program to speak of.
shares_of_serve() {
    share tcp_rr_1 "$load" rr "$host" 7001 1 "$seconds"
    share udp_rr_1 "$load" udp "$host" 7005 1 "$seconds"
    share stream_to_guest "$load" send "$host" 7002 1 "$seconds"
    share stream_from_guest "$load" receive "$host" 7003 1 "$seconds"
    share streams_64_to_guest "$load" send "$host" 7002 64 "$seconds"
    share connect_close "$load" connect "$host" 7004 "$seconds"
}

shares_of_redis() {
    export -f redis_requests
    share redis_get_p1 env host="$host" apps="$apps" bash -c 'redis_requests get 1 20000'
    [ -z "${BLOCKS:-}" ] || share redis_set_p1 env host="$host" apps="$apps" bash -c 'redis_requests set 1 20000'
    share redis_get_p16 env host="$host" apps="$apps" bash -c 'redis_requests get 16 200000'
}

shares_of_memcached() {
    share memcached_get_16x1 "$load" memcached "$host" 11211 16 1 "$seconds"
    share memcached_get_16x16 "$load" memcached "$host" 11211 16 16 "$seconds"
    share memcached_set_16x1 "$load" memcached "$host" 11211 16 1 "$seconds" set
}

shares_of_nginx() { share nginx_612_keep "$load" http "$host" 80 16 1 "$seconds" /612.html; }

# One server on one system.
measure() {
    echo "bench-net: $system, $server, processors $cpus, $what, round $round" >&2
    host=${address[$system]}
    describe "$server" "$cpus"
    "start_$system" "$cpus"
    server_process=$!
    if timeout 70 "$load" wait "$host" "$port" 60 2>/dev/null && kill -0 $server_process 2>/dev/null; then
        "${what}_$server"
    else
        echo "bench-net: $system: $server does not serve: $(tail -n 3 "$work/console")" >&2
        echo "**$system, $cpus processors, round $round: $server did not serve.**" >> "$results/notes"
    fi
    if [ "$system" != native ] && ! kill -0 $server_process 2>/dev/null; then
        echo "bench-net: $system ended during $server:" >&2
        tail -n 20 "$work/console" >&2
        cp "$work/console" "$results/ended.$system.$server.$cpus.$round"
        echo "**$system, $cpus processors, round $round: the machine ended during $server.**" >> "$results/notes"
    fi
    kill $server_process 2>/dev/null || :
    wait $server_process 2>/dev/null || :
    server_process=
}

what=loads_of plugin= idle=poll
for ((round = 1; round <= rounds; round++)); do
    for cpus in $sets; do
        for server in $servers; do
            for system in $systems; do
                [ "$system" != native ] || [ "$cpus" = "${sets%% *}" ] || continue
                measure
            done
        done
    done
done

# A processor that looks for work executes instructions which are of no request. Linux's halts.
what=shares_of cpus=1 round=1 idle=halt
plugin="-plugin $work/$counter.so,counters=$work/counters"
for server in $servers; do
    for system in $systems; do
        [ "$system" = native ] || [ "$server$counter" = serveshares ] || measure
    done
done
[ "$counter" = shares ] || exit 0

report=docs/NET-FIGURES.md
[ "$systems $servers $sets" = 'native linux nacre serve redis memcached nginx 1 2' ] || report=$work/NET-FIGURES.md
"$target/release/bench" network "$results" tests/bench/network-goals.txt tests/bench/network-closing.md "$report" "$work/figures.json"
cat "$report"
