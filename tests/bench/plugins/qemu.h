// What the plugins of QEMU's translator share: the part of QEMU's interface that they use (docs/devel/tcg-plugins.rst), whose header is not
// installed with it, and the file that a plugin counts in. This part of the interface is the same in versions 1 and 2.
#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum qemu_plugin_op op, void *counter, uint64_t by);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

#define EXPORTED __attribute__((visibility("default")))

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION 1
#endif
EXPORTED int qemu_plugin_version = PLUGIN_VERSION;

// Memory of so many bytes, zero, that others see in the file which the plugin's one argument names, counters=FILE. NULL if there is none.
static void *map_counters(int argc, char **argv, size_t len_bytes)
{
	static const char name[] = "counters=";
	if (argc != 1 || strncmp(argv[0], name, sizeof name - 1)) {
		fputs("plugin: counters=FILE is needed\n", stderr);
		return NULL;
	}
	int file = open(argv[0] + sizeof name - 1, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || ftruncate(file, (off_t)len_bytes)) {
		perror("plugin");
		return NULL;
	}
	void *counters = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (counters == MAP_FAILED) {
		perror("plugin");
		return NULL;
	}
	return counters;
}
