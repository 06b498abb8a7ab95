// A plugin of QEMU's translator that counts the instructions a guest executes, the kernel's (in the upper half of the addresses) and
// the program's:
//
//   qemu-system-x86_64 -plugin shares.so,counters=FILE ...
//
// FILE gets two 64-bit numbers that go up while the guest runs: kernel, program. Whoever wants to know reads them before and after.
// A block that an exception leaves early counts whole, which is rare. One processor alone: counts of two would be lost.
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// What is used of QEMU's interface to plugins (docs/devel/tcg-plugins.rst), whose header is not installed with it. This part of it is
// the same in versions 1 and 2.
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum qemu_plugin_op op, void *counter, uint64_t by);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_VERSION;

enum { KERNEL, PROGRAM, COUNTERS };
static uint64_t *counters;

static void count(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	(void)id;
	bool is_kernel = qemu_plugin_tb_vaddr(block) >> 63;
	qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counters[is_kernel ? KERNEL : PROGRAM],
						 qemu_plugin_tb_n_insns(block));
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *information, int argc, char **argv)
{
	static const char name[] = "counters=";
	(void)information;
	if (argc != 1 || strncmp(argv[0], name, sizeof name - 1)) {
		fputs("shares: counters=FILE is needed\n", stderr);
		return 1;
	}
	int file = open(argv[0] + sizeof name - 1, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || ftruncate(file, COUNTERS * sizeof *counters)) {
		perror("shares");
		return 1;
	}
	counters = mmap(NULL, COUNTERS * sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (counters == MAP_FAILED) {
		perror("shares");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, count);
	return 0;
}
