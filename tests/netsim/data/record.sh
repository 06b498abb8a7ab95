#!/usr/bin/env bash
# Records the captures of this folder: what Linux sends to Linux over a link, and what QEMU's own network says to a machine of ours.
# Needs root, tcpdump and python3. The last capture needs an image of a program that reads its input to the end (IMAGE=file), and is left
# alone without one.
#
# The right end of the link has the addresses of `netsim::machine::Machine` number 1, the left one those of number 2.
set -euo pipefail
cd "$(dirname "$0")"
left=nacre-left right=nacre-right
cleanup() {
    [ -z "${relay:-}" ] || kill $relay 2>/dev/null || true
    for name in $left $right; do ip netns delete $name 2>/dev/null || true; done
}
trap cleanup EXIT

# The cable: two TAP devices and this. With an argument they leave segmentation and checksums to each other, as virtio devices do.
cable='
import fcntl, os, selectors, struct, sys
offloads = len(sys.argv) > 1
taps = []
for name in ("nacre-cable2", "nacre-cable1"):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | (0x4000 if offloads else 0)))
    if offloads: fcntl.ioctl(tap, 0x400454d0, 7)
    taps.append(tap)
print("ready", flush=True)
selector = selectors.DefaultSelector()
for place in (0, 1): selector.register(taps[place], selectors.EVENT_READ, taps[1 - place])
while True:
    for key, _ in selector.select():
        frame = os.read(key.fd, 1 << 17)
        try: os.write(key.data, frame)
        except OSError: pass
'

# connect [offloads]: a new link with both ends.
connect() {
    cleanup
    exec 3< <(exec python3 -c "$cable" "$@")
    relay=$!
    read -r _ <&3
    local number=2
    for name in $left $right; do
        ip netns add $name
        ip -n $name link set lo up
        ip link set nacre-cable$number netns $name
        ip -n $name link set nacre-cable$number name cable
        # Addresses are used at once.
        ip netns exec $name sysctl -q net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.cable.accept_dad=0
        ip -n $name link set cable address 02:00:00:00:00:0$number up
        ip -n $name address add 10.97.0.$number/24 dev cable
        ip -n $name address add fd97::$number/64 dev cable nodad
        number=$((number - 1))
    done
    sleep 1
}

# record FILE COMMAND...: what is on the link while the command runs.
record() {
    local file=$1
    shift
    ip netns exec $right tcpdump --immediate-mode -U -q -n -s 0 -i cable -w "$file" 2>/dev/null &
    local dump=$!
    sleep 0.5
    "$@"
    sleep 0.3
    kill -INT $dump
    wait $dump || true
}

# both SCRIPT: the script at both ends, told which one it is at.
both() {
    ip netns exec $right python3 -c "$common$1" right &
    local peer=$!
    ip netns exec $left python3 -c "$common$1" left
    wait $peer
}

common='
import socket, struct, sys, time
is_left = sys.argv[1] == "left"
port = 4999
def stream(address, family=socket.AF_INET, talk=None):
    """A connection from the left end, of which talk(socket) is what is done with it."""
    global port
    port += 1
    server = "10.97.0.1" if family == socket.AF_INET else "fd97::1"
    if is_left:
        for attempt in range(50):
            try:
                peer = socket.create_connection((address or server, port), 5)
                break
            except ConnectionRefusedError: time.sleep(0.1)
    else:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(10)
        listener.bind((address or server, port))
        listener.listen()
        peer = listener.accept()[0]
    peer.settimeout(5)
    talk(peer)
    return peer
def exchange(peer):
    peer.sendall(b"question" if is_left else b"answer")
    while peer.recv(100) not in (b"question", b"answer"): pass
    peer.close()
def send_much(count):
    def talk(peer):
        if is_left:
            peer.sendall(bytes(count)); peer.shutdown(socket.SHUT_WR); peer.recv(1)
        else:
            while peer.recv(65536): pass
        peer.close()
    return talk
'

connect
record tcp.pcap both '
for family in (socket.AF_INET, socket.AF_INET6): stream(None, family, exchange)
stream(None, talk=lambda peer: (peer.send(b"!", socket.MSG_OOB) if is_left else time.sleep(0.2), peer.close()))
def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if not is_left: time.sleep(0.2)
    peer.close()
stream(None, talk=reset)
if is_left:
    try: socket.create_connection(("10.97.0.1", 9), 1)
    except OSError: pass
'
for name in $left $right; do ip netns exec $name sysctl -q net.ipv4.tcp_ecn=1 net.ipv4.tcp_timestamps=0; done
record tcp-ecn.pcap both 'stream(None, talk=send_much(6000))'
for name in $left $right; do ip netns exec $name sysctl -q net.ipv4.tcp_ecn=2 net.ipv4.tcp_timestamps=1; done
# Somebody asks for a cookie, and comes again with it and with data. The key is that of `netsim::victim`.
for name in $left $right; do
    ip netns exec $name sysctl -q net.ipv4.tcp_fastopen=3 net.ipv4.tcp_fastopen_key=03020100-07060504-0b0a0908-0f0e0d0c
done
record tcp-fast-open.pcap both '
for family, server in ((socket.AF_INET, "10.97.0.1"), (socket.AF_INET6, "fd97::1")):
    if not is_left:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, 23, 5)
        listener.settimeout(10)
        listener.bind((server, 5000))
        listener.listen()
    else: time.sleep(0.5)
    for round in range(2):
        if is_left:
            peer = socket.socket(family)
            peer.sendto(b"question", 0x20000000, (server, 5000))
        else: peer = listener.accept()[0]
        peer.settimeout(5)
        assert peer.recv(100) == b"answer" if is_left else peer.recv(100) == b"question" and peer.send(b"answer")
        peer.close()
    if not is_left: listener.close()
'
for name in $left $right; do ip netns exec $name sysctl -q net.ipv4.tcp_fastopen=1; done
record udp.pcap both '
for family, right, left in ((socket.AF_INET, "10.97.0.1", "10.97.0.2"), (socket.AF_INET6, "fd97::1", "fd97::2")):
    own = socket.socket(family, socket.SOCK_DGRAM)
    own.bind((left if is_left else right, 7000))
    time.sleep(0.1)
    for size in (0, 1, 100, 1400): own.sendto(bytes(size), (right if is_left else left, 7000))
    time.sleep(0.2)
if is_left:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    own.sendto(b"all", ("10.97.0.255", 7000))
'
# The last three datagrams: hop-by-hop and destination options, and a routing header of no segments left.
record fragments.pcap both '
for family, right, left in ((socket.AF_INET, "10.97.0.1", "10.97.0.2"), (socket.AF_INET6, "fd97::1", "fd97::2")):
    own = socket.socket(family, socket.SOCK_DGRAM)
    own.bind((left if is_left else right, 7000))
    time.sleep(0.1)
    for size in (1600, 3200): own.sendto(bytes(size), (right if is_left else left, 7000))
    time.sleep(0.2)
for option, value in ((54, bytes([0, 0, 1, 4, 0, 0, 0, 0])), (59, bytes([0, 0, 1, 4, 0, 0, 0, 0]))):
    own.setsockopt(socket.IPPROTO_IPV6, option, value)
    own.sendto(b"behind options", (right if is_left else left, 7000))
    own.sendto(bytes(2000), (right if is_left else left, 7000))
'
errors() {
    ip netns exec $left ping -q -c 2 -i 0.2 10.97.0.1 >/dev/null
    ip netns exec $left ping -q -c 2 -i 0.2 -s 2000 fd97::1 >/dev/null
    both '
for family, right, left in ((socket.AF_INET, "10.97.0.1", "10.97.0.2"), (socket.AF_INET6, "fd97::1", "fd97::2")):
    own = socket.socket(family, socket.SOCK_DGRAM)
    own.bind((left if is_left else right, 7100))
    for port in (7101, 7000): own.sendto(b"nobody", (right if is_left else left, port))
    raw = socket.socket(family, socket.SOCK_RAW, 253)
    raw.sendto(b"unknown", (right if is_left else left, 0))
    time.sleep(0.2)
'
    # The left end as a router that may not go on: time exceeded, no route, too big.
    ip netns exec $left sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip -n $left tuntap add dev narrow mode tap
    ip -n $left link set narrow mtu 1280 up
    ip -n $left address add 10.98.0.2/24 dev narrow
    ip -n $left address add fd98::2/64 dev narrow nodad
    ip -n $right route add 10.98.0.0/16 via 10.97.0.2
    ip -n $right route add fd98::/32 via fd97::2
    ip -n $left neighbour add 10.98.0.9 lladdr 02:00:00:00:00:09 dev narrow
    ip -n $left neighbour add fd98::9 lladdr 02:00:00:00:00:09 dev narrow
    for to in "-t 1 10.98.0.9" "-M do -s 1400 10.98.0.9" "10.98.7.7" "-t 1 fd98::9" "-s 1400 fd98::9" "fd98:0:0:7::7"; do
        ip netns exec $right ping -q -c 1 -W 1 $to >/dev/null || true
    done
    ip netns exec $left sysctl -q net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
}
record icmp.pcap errors
record groups.pcap both '
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
index = socket.if_nametoindex("cable")
own.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + struct.pack("4xi", index))
other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::1:3") + struct.pack("I", index))
own.bind(("", 7000)); other.bind(("", 7000))
time.sleep(1.5)
if is_left:
    own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.97.0.2"))
    own.sendto(b"group", ("239.1.2.3", 7000))
    other.sendto(b"group", ("ff02::1:3", 7000, 0, index))
    # A querier of both kinds.
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 2)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([0x94, 4, 0, 0]))
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.97.0.2"))
    raw.sendto(bytes([0x11, 10, 0xee, 0xf5, 0, 0, 0, 0]), ("224.0.0.1", 0))
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
    raw.setsockopt(socket.IPPROTO_IPV6, 54, bytes([58, 0, 5, 2, 0, 0, 1, 0]))
    raw.sendto(bytes([130, 0, 0, 0, 0, 100, 0, 0]) + bytes(16), ("ff02::1", 0, 0, index))
time.sleep(1.5)
'
neighbours() {
    for name in $left $right; do ip -n $name neighbour flush dev cable; done
    ip netns exec $left ping -q -c 1 10.97.0.1 >/dev/null
    ip netns exec $left ping -q -c 1 fd97::1 >/dev/null
    # Somebody's addresses come up: announcements, duplicate address detection, and the search for routers.
    ip netns exec $left sysctl -q net.ipv6.conf.cable.accept_dad=1 net.ipv4.conf.cable.arp_notify=1
    ip -n $left link set cable down
    ip -n $left link set cable up
    ip -n $left address add fd97::77/64 dev cable
    sleep 3
}
record neighbours.pcap neighbours
connect offloads
record gso.pcap both '
for family in (socket.AF_INET, socket.AF_INET6): stream(None, family, send_much(5000))
'
if [ -n "${IMAGE:-}" ]; then
    capture=$PWD/machine.pcap
    rm -f "$capture"
    (cd ../../.. && NET="user,pcap=$capture" TIMEOUT=60 scripts/run-qemu.sh "$IMAGE") < <(sleep 6) || true
fi
wc -c ./*.pcap
