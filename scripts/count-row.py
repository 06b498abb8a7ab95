#!/usr/bin/env python3
"""Counts the kernel's instructions by function in one operation of the benchmark, over many repetitions.

    scripts/count-row.py IMAGE CALLS [--rewritten] [--inline] [--lines FUNCTION]

IMAGE is tests/bench/program with the arguments "forever ROW"; CALLS is how many system calls the operation makes, of all its
threads. The emulator logs every instruction of a short while; switches between threads are in it, the program's own
instructions are counted as one line. --rewritten has call sites rewritten. --inline counts functions compiled into others for
themselves, --lines one function by its source lines. CPUS=n in the environment gives the machine more processors.
"""
import argparse
import bisect
import collections
import os
import re
import socket
import subprocess
import tempfile
import time

TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
KERNEL = f"{TARGET}/x86_64-unknown-none/kernel/kernel"
KERNEL_START = 0xFFFFFFFF80000000
SLIDE_UNIT = 0x200000
ENTRIES = {"syscall_entry", "site_entry", "site_entry_full"}
TRACE = re.compile(rb"/([0-9a-f]{16})/")


def record(image, rewrite, seconds_before, seconds):
    """The program counters of all instructions during `seconds`, `seconds_before` after the start."""
    with tempfile.TemporaryDirectory() as directory:
        log, monitor = f"{directory}/log", f"{directory}/monitor"
        options = f"-icount shift=0,sleep=off -cpu max,-erms -singlestep -monitor unix:{monitor},server,nowait"
        environment = dict(os.environ, IMAGE=image, ACCEL="tcg", MACHINE="microvm", REWRITE=rewrite, QEMU_ARGS=options, TIMEOUT="120")
        runner = subprocess.Popen([f"{TARGET}/release/nacre-run"], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(seconds_before)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(monitor)
            connection.sendall(f"logfile {log}\nlog exec,nochain\n".encode())
            time.sleep(seconds)
            connection.sendall(b"quit\n")
            runner.wait()
        finally:
            runner.terminate()
        with open(log, "rb") as lines:
            return [int(found.group(1), 16) for found in map(TRACE.search, lines) if found]


def read_symbols():
    """Addresses and names of the kernel's functions, in order."""
    listing = subprocess.run(["nm", "-C", "-n", KERNEL], capture_output=True, text=True, check=True).stdout
    symbols = []
    for line in listing.splitlines():
        address, kind, name = line.split(" ", 2)
        if kind in "tTwW":
            symbols.append((int(address, 16), re.sub(r"::h[0-9a-f]{16}$", "", name)))
    return symbols


def resolve(addresses):
    """For each address the functions it is in, innermost first, as (name, file:line)."""
    query = "\n".join(f"{address:#x}" for address in addresses) + "\n"
    command = ["addr2line", "-e", KERNEL, "-a", "-i", "-f", "-C", "-s"]
    answer = subprocess.run(command, input=query, capture_output=True, text=True, check=True).stdout
    chains, names = {}, []
    for line in answer.splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            chain = chains[int(line, 16)] = []
            names = []
        else:
            names.append(line)
            if len(names) == 2:
                chain.append(tuple(names))
                names = []
    return chains


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("image")
    parser.add_argument("calls", type=int)
    parser.add_argument("--rewritten", action="store_true")
    parser.add_argument("--inline", action="store_true")
    parser.add_argument("--lines")
    parser.add_argument("--before", type=float, default=4)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()

    trace = record(options.image, "on" if options.rewritten else "off", options.before, options.seconds)
    in_kernel = [pc for pc in trace if pc >= KERNEL_START]
    slide = (min(in_kernel) & ~(SLIDE_UNIT - 1)) - KERNEL_START
    symbols = read_symbols()
    base = 0 if symbols[-1][0] < KERNEL_START else KERNEL_START
    starts = [address for address, _ in symbols]
    entered = {address for address, name in symbols if name in ENTRIES}

    # Whole operations only: from the first entry to the last one that completes a multiple of CALLS.
    linked = [pc - slide - KERNEL_START + base if pc >= KERNEL_START else None for pc in trace]
    entries = [index for index, pc in enumerate(linked) if pc in entered]
    operations = (len(entries) - 1) // options.calls
    if operations < 1:
        raise SystemExit(f"only {len(entries)} system calls were seen")
    linked = linked[entries[0] : entries[operations * options.calls]]

    chains = resolve(sorted({pc for pc in linked if pc is not None})) if options.inline or options.lines else {}
    counts, order = collections.Counter(), {}
    for pc, count in collections.Counter(linked).items():
        if pc is None:
            name = "(the program)"
        else:
            name = symbols[bisect.bisect_right(starts, pc) - 1][1]
            chain = chains.get(pc) or [("?", "?")]
            if options.lines is not None and options.lines in name:
                name = f"{name}  {' < '.join(place for _, place in chain[:4])}"
            elif options.inline and len(chain) > 1:
                name = f"{name} < {' < '.join(function for function, _ in reversed(chain[:-1]))}"
        counts[name] += count
    for name, count in counts.most_common():
        if count >= operations / 2:
            print(f"{count / operations:9.1f} {name}")
    print(f"{len(linked) / operations:9.1f} in all, over {operations} operations")


main()
