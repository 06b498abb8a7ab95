#!/usr/bin/env python3
"""Writes the table of docs/PROC.md: which programs look at which files of /proc, /sys and /dev.

Runs programs under strace on this Linux and collects the names they open, list or ask for. What is not installed is left out, and
said so. Numbers of processes, CPUs and devices become PID, N and the like. What Nacre has of each name the test `proc` of the crate
`linux` finds out: it writes the last column when UPDATE_DOCS is set, and fails when the column is not true.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
APPS = os.environ.get("APPS_DIR", os.path.join(ROOT, "target/apps"))
DOCUMENT = os.path.join(ROOT, "docs/PROC.md")
BEGIN, END = "<!-- table -->", "<!-- end of table -->"

C_PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <pthread.h>
int main(void) {
    double loads[3];
    pthread_attr_t attr;
    printf("%ld %ld %d\n", sysconf(_SC_NPROCESSORS_CONF), sysconf(_SC_NPROCESSORS_ONLN), getloadavg(loads, 3));
    printf("%ld %s\n", sysconf(_SC_AVPHYS_PAGES), ttyname(0));
    pthread_setname_np(pthread_self(), "name");
    return 0;
}
"""
RUST_PROGRAM = """
fn main() {
    let threads = std::thread::available_parallelism();
    println!("{threads:?} {:?}", std::env::current_exe());
    std::thread::spawn(|| panic!("to see a backtrace")).join().unwrap_err();
}
"""


def app(name):
    return os.path.join(APPS, name)


def built(work, compiler, name, source, *flags):
    """Compiles a small program; None without the compiler."""
    if not shutil.which(compiler):
        return None
    suffix = ".rs" if compiler == "rustc" else ".c"
    path = os.path.join(work, name)
    with open(path + suffix, "w") as file:
        file.write(source)
    subprocess.run([compiler, *flags, "-o", path, path + suffix], check=True, stderr=subprocess.DEVNULL)
    return path


def programs(work):
    """Pairs of a name for the table and a command."""
    busybox = app("busybox/busybox")
    yield "musl", [built(work, "musl-gcc", "musl", "#define _GNU_SOURCE\n" + C_PROGRAM, "-static")]
    yield "glibc", [built(work, "gcc", "glibc", "#define _GNU_SOURCE\n" + C_PROGRAM, "-static")]
    yield "Rust std", [built(work, "rustc", "rust", RUST_PROGRAM)]
    yield "Go", ["go", "version"]
    yield "JVM", ["java", "-Xshare:off", "-version"]
    yield "Node", ["node", "-e", "const o=require('os');o.cpus();o.loadavg();o.totalmem();process.constrainedMemory();"
                   "process.memoryUsage();process.resourceUsage();process.title='x';o.networkInterfaces()"]
    yield "redis", [app("redis/redis-server"), "--port", "0", "--unixsocket", work + "/redis", "--save", ""]
    with open(work + "/nginx.conf", "w") as file:
        file.write(f"daemon off; error_log stderr; pid {work}/pid; events {{}}\nhttp {{ access_log off;"
                   f" server {{ listen unix:{work}/nginx; }} }}\n")
    yield "nginx", [app("nginx/nginx"), "-p", work, "-e", "stderr", "-c", work + "/nginx.conf"]
    yield "memcached", [app("memcached/memcached"), "-u", "nobody", "-U", "0", "-p", "0", "-s", work + "/socket"]
    # Starts the server twice, which does not run as root.
    initdb = sorted(os.path.join("/usr/lib/postgresql", v, "bin/initdb") for v in listed("/usr/lib/postgresql"))
    yield "PostgreSQL", [initdb[-1] if initdb else None, "-N", "-D", work + "/data"]
    yield "sqlite", [app("sqlite/sqlite3"), ":memory:", "select sqlite_version()"]
    for applet in ("ps", "top -b -n1", "free", "df", "mount", "uptime", "lsof", "netstat -an", "iostat", "vmstat", "nproc", "pidof x",
                   "pstree", "pmap 1", "mpstat", "losetup", "fdisk -l", "blkid", "ifconfig", "route", "arp", "sysctl -a",
                   "lsmod", "swapon", "stty", "tty", "hostname", "dmesg", "fuser /"):
        yield "busybox", [busybox, *applet.split()]
    for command in ("ps aux", "top -b -n1", "free", "vmstat", "w", "pgrep x", "pmap 1", "slabtop -o"):
        yield "procps", command.split()
    for command in ("lscpu", "lsblk", "lsmem", "findmnt", "lslocks", "lsns"):
        yield "util-linux", command.split()
    yield "iostat", ["iostat"]
    yield "lsof", ["lsof", "-n"]
    yield "htop", ["htop", "-d", "1"]
    yield "net-tools", ["netstat", "-an"]
    yield "net-tools", ["ifconfig"]


def listed(path):
    return os.listdir(path) if os.path.isdir(path) else []


CALLS = "open,openat,openat2,readlink,readlinkat,access,faccessat,faccessat2,stat,lstat,newfstatat,statx,statfs"
AT = re.compile(r'\w+\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)"')


def names_of(command, work, user):
    """The names below /proc, /sys and /dev that a command uses."""
    trace = os.path.join(work, "trace")
    environment = dict(os.environ, TERM="xterm", LC_ALL="C")
    strace = ["timeout", "-s", "INT", "-k", "2", "10", "strace", "-f", "-y", "-qq", "-s", "400", "-o", trace, "-e", CALLS,
              *(["-u", user] if user else [])]
    subprocess.run([*strace, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=environment, cwd=work, check=False)
    with open(trace, errors="replace") as file:
        for line in file:
            for directory, name in AT.findall(line):
                path = os.path.normpath(os.path.join(directory or "/", name))
                if re.match(r"/(proc|sys|dev)(/|$)", path):
                    yield path


# Names that differ by machine, in the order in which they are replaced.
GENERAL = [
    (r"^/proc/self/task/\d+", "/proc/self/task/TID"),
    (r"^/proc/\d+/task/\d+", "/proc/PID/task/TID"),
    (r"^/proc/\d+", "/proc/PID"),
    (r"/vulnerabilities/\w+", "/vulnerabilities/NAME"),
    (r"/(fd|fdinfo)/\d+$", r"/\1/N"),
    (r"/(cpu|node|memory|index|state|policy)\d+", r"/\1N"),
    (r"/map_files/[0-9a-f]+-[0-9a-f]+$", "/map_files/RANGE"),
    (r"^/dev/pts/\d+", "/dev/pts/N"),
    (r"^/dev/(shm|mqueue)/.+", r"/dev/\1/NAME"),
    (r"^/sys/dev/(block|char)/\d+:\d+", r"/sys/dev/\1/M:N"),
    (r"^/dev/(loop|zram|ram|vd[a-z]|sd[a-z]|nvme|md|dm-|fd)\w*$", "/dev/DISK"),
    (r"^/dev/(tty|ttyS|vcs|vcsa|vcsu|hvc)\d+$", "/dev/ttyN"),
    (r"/(block)/(loop|zram|vd[a-z]|sd[a-z]|nvme|dm-)\w*", r"/\1/DISK"),
    (r"/net/(lo|eth\d+|ifb\d+|ens\w+)(?=/|$)", "/net/IFACE"),
    (r"/conf/(lo|eth\d+|ifb\d+|ens\w+)(?=/|$)", "/conf/IFACE"),
]
# What belongs to other machines' hardware or file systems, or to the one this runs on.
LEFT_OUT = re.compile(
    r"^/sys/(bus|devices/(pci|platform|pnp|LNX|virtual/(bdi|misc|tty|thermal|vc))|module|firmware|fs/(ext4|btrfs|xfs|cgroup/\w+/))"
    r"|^/sys/class/(?!net|block|tty|mem)|^/proc/(bus|irq|fs|driver|acpi|pressure|asound|scsi)/|^/dev/(?!null|zero|full|random|urandom|tty"
    r"|console|ptmx|pts|fd|std|shm|kmsg|mqueue|DISK|log|mem)|^/sys/fs/cgroup/([^/]+/|(blkio|cpu|cpuacct|cpuset|devices|freezer|memory|pids|systemd|unified)$)|^/dev/tty/|^/sys/kernel/(debug|tracing|security|config|slab)"
    r"|^/sys/devices/system/memory/memoryN|^/sys/devices/system/node/nodeN/(memory|hugepages|cpu)|^/proc/sys/.*\.\.|/DISK/"
    r"(?!size|ro$|stat|dev|queue|partition|start|removable)|^/sys/devices/system/cpu/cpuN/(cpuidle|cpufreq|power|hotplug|node)")


def generalize(path):
    for pattern, replacement in GENERAL:
        path = re.sub(pattern, replacement, path)
    return path


def main():
    readers, missing = {}, []
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o777)
        for name, command in programs(work):
            if not command[0] or not shutil.which(command[0]):
                missing.append(command[0] or name)
                continue
            for path in set(names_of(command, work, "postgres" if name == "PostgreSQL" else None)):
                path = generalize(path)
                if not LEFT_OUT.search(path):
                    readers.setdefault(path, set()).add(name)
            print(f"traced {name}: {' '.join(command)[:60]}", file=sys.stderr)
    if missing:
        print(f"left out, as they are not installed: {', '.join(sorted(set(missing)))}", file=sys.stderr)
    with open(DOCUMENT) as file:
        text = file.read()
    start, rest = text.index(BEGIN) + len(BEGIN), text.index(END)
    rows = [f"| `{path}` | {', '.join(sorted(readers[path]))} |  |" for path in sorted(readers)]
    table = "\n".join(["| name | who looks at it | Nacre |", "|---|---|---|", *rows])
    with open(DOCUMENT, "w") as file:
        file.write(f"{text[:start]}\n{table}\n{text[rest:]}")


main()
