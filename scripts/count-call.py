# For gdb: counts the kernel's instructions in one system call, by function, by single steps.
#
#   REWRITE=off QEMU_ARGS='-s' scripts/run-qemu.sh image &  NUMBER=0 SKIP=100 scripts/gdb.sh -batch -x scripts/count-call.py
#
# NUMBER is the system call, SKIP how many calls of it to let pass first.
import collections
import os

import gdb

number = int(os.environ.get("NUMBER", "0"))
skip = int(os.environ.get("SKIP", "100"))
gdb.execute("set language c")
gdb.execute("set confirm off")
gdb.execute("set pagination off")
entry = gdb.Breakpoint("*&syscall_entry")
entry.condition = f"(unsigned int)$rax == {number}"
entry.ignore_count = skip
gdb.execute("continue", to_string=True)
entry.delete()
end = int(gdb.parse_and_eval("(unsigned long)&syscall_exit_window_jump"))
counts = collections.Counter()
order = {}
for _ in range(20000):
    pc = int(gdb.parse_and_eval("(unsigned long)$pc"))
    function = gdb.execute(f"info symbol {pc:#x}", to_string=True).split(" in section")[0].split(" + ")[0]
    counts[function] += 1
    order.setdefault(function, len(order))
    if pc == end:
        break
    gdb.execute("stepi", to_string=True)
for function, count in sorted(counts.items(), key=lambda item: order[item[0]]):
    print(f"{count:6} {function}")
print(f"{sum(counts.values()):6} in all")
gdb.execute("kill")
