#!/usr/bin/env python3
"""Writes what the compiler is told about how often the kernel's code runs: a sample profile of LLVM, in its text format.

    scripts/kernel-pgo.py KERNEL COUNTS PROFILE

KERNEL is an unstripped kernel with full debug information and discriminators. COUNTS is a directory with KIND.LOAD.before and
KIND.LOAD.after of each load, as tests/bench/plugins/blocks.c wrote them; a load's kind says how much it weighs. PROFILE is compressed.
Crates are named without their disambiguators, which differ from compiler to compiler: kernel-cargo.sh puts them in.

The text has an entry for each function of which anything ran. An entry's lines are "PLACE: COUNT [CALLED:COUNT ...]" and, for what was
compiled into it, "PLACE: FUNCTION:TOTAL" with that function's own lines indented below. A place is a line counted from the function's
first one, with a discriminator behind a dot where a line has more than one piece of code.
"""
import bisect
import collections
import glob
import gzip
import json
import os
import re
import struct
import subprocess
import sys

KERNEL_START = 0xFFFFFFFF80000000
SLIDE_UNIT = 0x200000
# All loads of a kind together are as many instructions as this says, and each of them as many as the others.
WEIGHTS = {"server": 10_000_000_000, "row": 2_000_000_000, "disk": 4_000_000_000, "start": 10_000_000}
# What ran less often, as loads weigh, is said not to have run: that keeps the profile small, and it matters to nobody.
COUNT_MIN = 500
INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\s+(\S+)\s*(\S*)")
CRATE = re.compile(r"C(s[0-9A-Za-z]*_)(?=\d)")


class Code:
    """The kernel's instructions, in the order of their addresses."""

    def __init__(self, kernel):
        self.addresses, self.repeated, self.called = [], set(), {}
        listing = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", kernel], stdout=subprocess.PIPE, text=True)
        for found in filter(None, map(INSTRUCTION.match, listing.stdout)):
            address = int(found[1], 16)
            self.addresses.append(address)
            if found[2].startswith("rep"):
                self.repeated.add(address)
            if found[2] == "call" and re.fullmatch("[0-9a-f]+", found[3]):
                self.called[address] = int(found[3], 16)
        self.index = {address: place for place, address in enumerate(self.addresses)}
        listing = subprocess.run(["nm", kernel], capture_output=True, text=True, check=True).stdout
        symbols = (line.split(" ", 2) for line in listing.splitlines())
        self.functions = {int(address, 16): name for address, kind, name in symbols if kind in "tTwW"}
        self.starts = sorted(self.functions)

    def function_of(self, address):
        return self.starts[bisect.bisect_right(self.starts, address) - 1]


def read_records(path):
    """The blocks of one file, each (address, instructions, count), as far as places are taken."""
    with open(path, "rb") as file:
        content = file.read()
    for record in struct.iter_unpack("<QQQ", content):
        if not record[0]:
            return
        yield record


def count_load(code, before, after):
    """How often each instruction ran between two files."""
    earlier = [count for _, _, count in read_records(before)]
    later = list(read_records(after))
    slide = (min(address for address, _, _ in later) & -SLIDE_UNIT) - KERNEL_START
    counts = collections.Counter()
    for place, (address, instructions, count) in enumerate(later):
        ran = count - (earlier[place] if place < len(earlier) else 0)
        first = code.index.get(address - slide)
        # Boot code runs at other addresses first.
        if not ran or first is None:
            continue
        for position in range(first, min(first + instructions, len(code.addresses))):
            instruction = code.addresses[position]
            # A string instruction counts once for each element, which says nothing of how often its line ran: others there do.
            counts[instruction] += ran if instruction not in code.repeated else 0
    return counts


def count_all(code, directory):
    """How often each instruction ran, of all loads as they weigh."""
    loads = collections.defaultdict(list)
    for after in sorted(glob.glob(f"{directory}/*.after")):
        kind = os.path.basename(after).split(".")[0]
        loads[kind].append(count_load(code, after.removesuffix("after") + "before", after))
    total = collections.Counter()
    for kind, counted in loads.items():
        counted = [counts for counts in counted if counts]
        for counts in counted:
            scale = WEIGHTS[kind] / len(counted) / sum(counts.values())
            for address, count in counts.items():
                total[address] += round(count * scale)
    return {address: count for address, count in total.items() if count >= COUNT_MIN}


class Entry:
    """What is known of one function, where it has code of its own or where it was compiled into another."""

    def __init__(self):
        self.lines, self.calls, self.inlined, self.entered = {}, collections.defaultdict(collections.Counter), {}, 0

    def total(self):
        return sum(self.lines.values()) + sum(entry.total() for entry in self.inlined.values())

    def times_entered(self):
        """How often an inlined function was entered: as often as what comes first in it ran."""
        firsts = [(place, count) for place, count in self.lines.items()]
        firsts += [(place, entry.times_entered()) for (place, _), entry in self.inlined.items()]
        first = min(place for place, _ in firsts)
        return max(count for place, count in firsts if place == first)

    def add_inlined(self, functions):
        """Adds what is inlined here to what is known of these functions wherever they are."""
        for (_, name), entry in self.inlined.items():
            function = functions[name]
            function.entered += entry.times_entered()
            lines = dict(entry.lines)
            for (place, callee), inner in entry.inlined.items():
                entered = inner.times_entered()
                lines[place] = max(lines.get(place, 0), entered)
                if entered:
                    function.calls[place][callee] += entered
            for place, count in lines.items():
                function.lines[place] = function.lines.get(place, 0) + count
            for place, called in entry.calls.items():
                function.calls[place].update(called)
            entry.add_inlined(functions)

    def write(self, out, depth):
        places = dict(self.lines)
        for (place, _), entry in self.inlined.items():
            if not entry.total():
                places.setdefault(place, 0)
        for place in sorted(places):
            calls = "".join(f" {name}:{count}" for name, count in sorted(self.calls.get(place, {}).items()))
            out.append(f"{' ' * depth}{write_place(place)}: {places[place]}{calls}")
        for (place, name), entry in sorted(self.inlined.items()):
            if total := entry.total():
                out.append(f"{' ' * depth}{write_place(place)}: {name}:{total}")
                entry.write(out, depth + 1)


def write_place(place):
    line, discriminator = place
    return f"{line}.{discriminator}" if discriminator else f"{line}"


def base_discriminator(encoded):
    """The part of a discriminator that tells pieces of code apart (LLVM, DebugInfoMetadata.h: the first component)."""
    if encoded & 1:
        return 0
    encoded >>= 1
    return (encoded >> 1) & 0xFE0 | encoded & 0x1F if encoded & 0x20 else encoded & 0x1F


def without_disambiguators(name):
    return CRATE.sub("C", name)


def resolve(kernel, addresses):
    """For each address the functions it is in, outermost first, as (name, place); None for code that no line of a source made."""
    command = ["llvm-symbolizer", f"--obj={kernel}", "--output-style=JSON", "--functions=linkage", "--no-demangle", "--inlines"]
    query = "".join(f"{address:#x}\n" for address in addresses)
    answer = subprocess.run(command, input=query, capture_output=True, text=True, check=True).stdout
    for line in answer.splitlines():
        frames = json.loads(line)["Symbol"][::-1]
        if any(frame["Line"] == 0 for frame in frames):
            yield None
            continue
        yield [
            (without_disambiguators(frame["FunctionName"]),
             ((frame["Line"] - frame["StartLine"]) & 0xFFFF, base_discriminator(frame["Discriminator"])))
            for frame in frames
        ]


def build_entries(kernel, code, counts):
    """The entries of all functions of which anything ran. What did not run in them is said to be zero."""
    ran = {code.function_of(address) for address in counts}
    addresses = [address for address in code.addresses if code.function_of(address) in ran]
    entries = collections.defaultdict(Entry)
    for address, frames in zip(addresses, resolve(kernel, addresses), strict=True):
        if frames is None:
            continue
        count = counts.get(address, 0)
        entry = entries[frames[0][0]]
        for (_, place), (name, _) in zip(frames, frames[1:]):
            entry = entry.inlined.setdefault((place, name), Entry())
        place = frames[-1][1]
        entry.lines[place] = max(entry.lines.get(place, 0), count)
        called = code.functions.get(code.called.get(address))
        if called and count:
            entry.calls[place][without_disambiguators(called)] += count
    for start in ran:
        name = without_disambiguators(code.functions[start])
        if name in entries:
            entries[name].entered += counts.get(start, 0)
    return entries


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    kernel, directory, path = sys.argv[1:]
    code = Code(kernel)
    counts = count_all(code, directory)
    if not counts:
        sys.exit(f"kernel-pgo: nothing was counted in {directory}")
    out = []
    entries = build_entries(kernel, code, counts)
    # What was compiled into others everywhere has an entry as well, or would be taken for what never ran.
    elsewhere = collections.defaultdict(Entry)
    for entry in entries.values():
        entry.add_inlined(elsewhere)
    for name, function in elsewhere.items():
        entries.setdefault(name, function)
    for name, entry in sorted(entries.items()):
        if total := entry.total():
            out.append(f"{name}:{total}:{entry.entered}")
            entry.write(out, 1)
    text = "\n".join(out) + "\n"
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as compressed:
        compressed.write(text.encode())
    print(f"kernel-pgo: {sum(not line.startswith(' ') for line in out)} functions in {path}", file=sys.stderr)


main()
