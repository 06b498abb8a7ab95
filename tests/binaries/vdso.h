// Finds functions of the vDSO by hand, as the C libraries do.
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

// The function `name` of a version, or NULL.
static void *vdso_function_of(const char *version, const char *name) {
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    if (!base)
        return NULL;
    ElfW(Ehdr) *header = (void *)base;
    ElfW(Phdr) *program = (void *)(base + header->e_phoff);
    ElfW(Dyn) *entry = NULL;
    char *shift = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (program[i].p_type == PT_LOAD && !shift)
            shift = base + program[i].p_offset - program[i].p_vaddr;
        else if (program[i].p_type == PT_DYNAMIC)
            entry = (void *)(base + program[i].p_offset);
    }
    ElfW(Sym) *symbols = NULL;
    ElfW(Verdef) *definition = NULL;
    uint16_t *versions = NULL;
    uint32_t *hash = NULL;
    char *names = NULL;
    for (; entry && entry->d_tag; entry++) {
        void *at = shift + entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_STRTAB: names = at; break;
        case DT_SYMTAB: symbols = at; break;
        case DT_HASH: hash = at; break;
        case DT_VERSYM: versions = at; break;
        case DT_VERDEF: definition = at; break;
        }
    }
    if (!symbols || !names || !hash || !versions || !definition)
        return NULL;
    for (uint32_t i = 1; i < hash[1]; i++) {
        if (!symbols[i].st_shndx || strcmp(names + symbols[i].st_name, name))
            continue;
        for (ElfW(Verdef) *one = definition;; one = (void *)((char *)one + one->vd_next)) {
            ElfW(Verdaux) *aux = (void *)((char *)one + one->vd_aux);
            if (one->vd_ndx == (versions[i] & 0x7fff) && !(one->vd_flags & VER_FLG_BASE))
                return strcmp(names + aux->vda_name, version) ? NULL : shift + symbols[i].st_value;
            if (!one->vd_next)
                break;
        }
    }
    return NULL;
}

// The function `name` as Linux has it, or NULL.
static inline void *vdso_function(const char *name) {
    return vdso_function_of("LINUX_2.6", name);
}
