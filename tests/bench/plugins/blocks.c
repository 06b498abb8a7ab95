// A plugin of QEMU's translator that counts how often the blocks of a guest's kernel are executed:
//
//   qemu-system-x86_64 -plugin blocks.so,counters=FILE ...
//
// FILE gets records of three 64-bit numbers: the address of a block, how many instructions it has, how often it was executed. A block has
// more than one record if it was translated more than once. Whoever wants to know copies the file before and after: records keep their
// places. What finds no place is not counted. One processor alone: counts of two would be lost.
#include "qemu.h"

enum { BLOCKS_MAX = 1 << 18 };
// The upper two gigabytes, where a kernel's code is.
static const uint64_t KERNEL_START = 0xffffffff80000000;

static struct block {
	uint64_t address, instructions, count;
} *blocks;
static size_t used;

static void count(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	(void)id;
	if (qemu_plugin_tb_vaddr(block) < KERNEL_START)
		return;
	size_t place = __atomic_fetch_add(&used, 1, __ATOMIC_RELAXED);
	if (place >= BLOCKS_MAX)
		return;
	blocks[place].address = qemu_plugin_tb_vaddr(block);
	blocks[place].instructions = qemu_plugin_tb_n_insns(block);
	qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &blocks[place].count, 1);
}

EXPORTED int qemu_plugin_install(qemu_plugin_id_t id, const void *information, int argc, char **argv)
{
	(void)information;
	blocks = map_counters(argc, argv, BLOCKS_MAX * sizeof *blocks);
	if (!blocks)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, count);
	return 0;
}
