//! `/proc/cpuinfo`, from what CPUID says.
//!
//! The names and the order of the flags are Linux's (`arch/x86/include/asm/cpufeatures.h`): by word, and by bit within it.

use alloc::vec::Vec;

use super::text::Text;
use crate::platform::Platform;
use crate::system::System;

/// A register of a CPUID leaf, with the names of its bits; an empty name is not shown.
struct Word {
    leaf: u32,
    register: usize,
    names: &'static [&'static str],
}

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;
/// The first leaf of the extended range.
const EXTENDED: u32 = 0x8000_0000;

/// The flags, in the order in which Linux shows them.
const WORDS: &[Word] = &[
    Word {
        leaf: 1,
        register: EDX,
        names: &[
            "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca",
            "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm",
            "ia64", "pbe",
        ],
    },
    Word {
        leaf: EXTENDED + 1,
        register: EDX,
        names: &[
            "", "", "", "", "", "", "", "", "", "", "", "syscall", "", "", "", "", "", "", "", "mp", "nx", "",
            "mmxext", "", "", "fxsr_opt", "pdpe1gb", "rdtscp", "", "lm", "3dnowext", "3dnow",
        ],
    },
    Word { leaf: EXTENDED + 7, register: EDX, names: &["", "", "", "", "", "", "", "", "constant_tsc"] },
    Word {
        leaf: 1,
        register: ECX,
        names: &[
            "pni",
            "pclmulqdq",
            "dtes64",
            "monitor",
            "ds_cpl",
            "vmx",
            "smx",
            "est",
            "tm2",
            "ssse3",
            "cid",
            "sdbg",
            "fma",
            "cx16",
            "xtpr",
            "pdcm",
            "",
            "pcid",
            "dca",
            "sse4_1",
            "sse4_2",
            "x2apic",
            "movbe",
            "popcnt",
            "tsc_deadline_timer",
            "aes",
            "xsave",
            "",
            "avx",
            "f16c",
            "rdrand",
            "hypervisor",
        ],
    },
    Word {
        leaf: EXTENDED + 1,
        register: ECX,
        names: &[
            "lahf_lm",
            "cmp_legacy",
            "svm",
            "extapic",
            "cr8_legacy",
            "abm",
            "sse4a",
            "misalignsse",
            "3dnowprefetch",
            "osvw",
            "ibs",
            "xop",
            "skinit",
            "wdt",
            "",
            "lwp",
            "fma4",
            "tce",
            "",
            "nodeid_msr",
            "",
            "tbm",
            "topoext",
            "perfctr_core",
            "perfctr_nb",
            "",
            "bpext",
            "ptsc",
            "perfctr_llc",
            "mwaitx",
        ],
    },
    Word {
        leaf: 7,
        register: EBX,
        names: &[
            "fsgsbase",
            "tsc_adjust",
            "sgx",
            "bmi1",
            "hle",
            "avx2",
            "",
            "smep",
            "bmi2",
            "erms",
            "invpcid",
            "rtm",
            "cqm",
            "",
            "mpx",
            "rdt_a",
            "avx512f",
            "avx512dq",
            "rdseed",
            "adx",
            "smap",
            "avx512ifma",
            "",
            "clflushopt",
            "clwb",
            "intel_pt",
            "avx512pf",
            "avx512er",
            "avx512cd",
            "sha_ni",
            "avx512bw",
            "avx512vl",
        ],
    },
    Word { leaf: 13, register: EAX, names: &["xsaveopt", "xsavec", "xgetbv1", "xsaves"] },
    Word {
        leaf: 7,
        register: ECX,
        names: &[
            "",
            "avx512vbmi",
            "umip",
            "pku",
            "ospke",
            "waitpkg",
            "avx512_vbmi2",
            "",
            "gfni",
            "vaes",
            "vpclmulqdq",
            "avx512_vnni",
            "avx512_bitalg",
            "tme",
            "avx512_vpopcntdq",
            "",
            "la57",
            "",
            "",
            "",
            "",
            "",
            "rdpid",
            "",
            "",
            "cldemote",
            "",
            "movdiri",
            "movdir64b",
            "enqcmd",
        ],
    },
    Word { leaf: 7, register: EDX, names: &["", "", "avx512_4vnniw", "avx512_4fmaps", "fsrm"] },
];

/// The subleaf whose flags a leaf shows.
fn subleaf(leaf: u32) -> u32 {
    // The flags of leaf 13 are those of its second subleaf.
    u32::from(leaf == 13)
}

/// The highest leaf of the basic and of the extended range.
fn leaves_max(platform: &dyn Platform, leaf: u32) -> u32 {
    platform.cpuid(leaf & EXTENDED, 0)[EAX]
}

fn flags(platform: &dyn Platform) -> Vec<&'static str> {
    let mut flags = Vec::new();
    for word in WORDS {
        if word.leaf > leaves_max(platform, word.leaf) {
            continue;
        }
        let bits = platform.cpuid(word.leaf, subleaf(word.leaf))[word.register];
        let is_set = |bit: usize| bits & (1 << bit) != 0;
        flags.extend(
            word.names.iter().enumerate().filter(|(bit, name)| is_set(*bit) && !name.is_empty()).map(|(_, name)| *name),
        );
    }
    flags
}

/// The bytes of some registers, as text.
fn register_text(registers: &[u32]) -> Vec<u8> {
    let bytes: Vec<u8> = registers.iter().flat_map(|register| register.to_le_bytes()).collect();
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    text.trim_ascii().to_vec()
}

fn brand(platform: &dyn Platform) -> Vec<u8> {
    if leaves_max(platform, EXTENDED) < EXTENDED + 4 {
        return b"unknown".to_vec();
    }
    let registers: Vec<u32> = (2..5).flat_map(|leaf| platform.cpuid(EXTENDED + leaf, 0)).collect();
    register_text(&registers)
}

/// Family, model and stepping.
fn signature(platform: &dyn Platform) -> (u32, u32, u32) {
    let signature = platform.cpuid(1, 0)[EAX];
    let (base_family, base_model) = (signature >> 8 & 15, signature >> 4 & 15);
    let family = if base_family == 15 { 15 + (signature >> 20 & 0xff) } else { base_family };
    let has_extended_model = base_family == 6 || base_family == 15;
    let model = if has_extended_model { base_model | (signature >> 12 & 0xf0) } else { base_model };
    (family, model, signature & 15)
}

pub(super) fn cpuinfo(system: &System) -> Vec<u8> {
    let platform = system.platform();
    let [level, b, c, d] = platform.cpuid(0, 0);
    let (family, model, stepping) = signature(platform);
    let brand = brand(platform);
    let flags = flags(platform);
    let khz = platform.tsc_khz();
    let line_size = (platform.cpuid(1, 0)[EBX] >> 8 & 0xff) * 8;
    let sizes =
        if leaves_max(platform, EXTENDED) >= EXTENDED + 8 { platform.cpuid(EXTENDED + 8, 0)[EAX] } else { 0x3028 };
    let count = platform.cpu_info().count;
    let mut text = Text::new();
    for cpu in 0..count {
        text.line(format_args!("processor\t: {cpu}"));
        text.bytes(b"vendor_id\t: ");
        text.bytes(&register_text(&[b, d, c]));
        text.line(format_args!("\ncpu family\t: {family}"));
        text.line(format_args!("model\t\t: {model}"));
        text.bytes(b"model name\t: ");
        text.bytes(&brand);
        text.line(format_args!("\nstepping\t: {stepping}"));
        text.line(format_args!("cpu MHz\t\t: {}.{:03}", khz / 1000, khz % 1000));
        text.line(format_args!("physical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {cpu}\ncpu cores\t: {count}"));
        text.line(format_args!("apicid\t\t: {cpu}\ninitial apicid\t: {cpu}"));
        text.line(format_args!("fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {level}\nwp\t\t: yes"));
        text.put(format_args!("flags\t\t:"));
        for flag in &flags {
            text.put(format_args!(" {flag}"));
        }
        text.line(format_args!("\nbugs\t\t:"));
        // Linux's figure is twice the frequency, as it counts jiffies of an empty loop.
        text.line(format_args!("bogomips\t: {}.{:02}", khz / 500, khz / 5 % 100));
        text.line(format_args!("clflush size\t: {line_size}\ncache_alignment\t: {line_size}"));
        text.line(format_args!("address sizes\t: {} bits physical, {} bits virtual", sizes & 0xff, sizes >> 8 & 0xff));
        text.line(format_args!("power management:\n"));
    }
    text.into_bytes()
}
