// A plugin of QEMU's translator that counts the instructions a guest executes, the kernel's (in the upper half of the addresses) and
// the program's:
//
//   qemu-system-x86_64 -plugin shares.so,counters=FILE ...
//
// FILE gets two 64-bit numbers that go up while the guest runs: kernel, program. Whoever wants to know reads them before and after.
// A block that an exception leaves early counts whole, which is rare. One processor alone: counts of two would be lost.
#include <stdbool.h>

#include "qemu.h"

enum { KERNEL, PROGRAM, COUNTERS };
static uint64_t *counters;

static void count(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	(void)id;
	bool is_kernel = qemu_plugin_tb_vaddr(block) >> 63;
	qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counters[is_kernel ? KERNEL : PROGRAM],
						 qemu_plugin_tb_n_insns(block));
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *information, int argc, char **argv)
{
	(void)information;
	counters = map_counters(argc, argv, COUNTERS * sizeof *counters);
	if (!counters)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, count);
	return 0;
}
