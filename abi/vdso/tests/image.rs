//! The image as the C libraries see it, and at work: it is mapped behind a page of data of the test's own, and called.
//! Where it asks the kernel, that is the Linux this runs on.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::ffi::c_void;

use goblin::elf::header::{EM_X86_64, ET_DYN};
use goblin::elf::program_header::{PF_R, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD};
use goblin::elf::sym::{STB_GLOBAL, STT_FUNC};
use goblin::elf::{Elf, dynamic};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use vdso::page::{CLOCKS, MONOTONIC_CLOCKS, REALTIME_CLOCKS};
use vdso::{BY_SYSCALL_OFFSET, IMAGE, PAGE_BYTES, Page, Rate};

const FUNCTIONS: [&str; 6] = [
    "__vdso_clock_getres",
    "__vdso_clock_gettime",
    "__vdso_getcpu",
    "__vdso_getrandom",
    "__vdso_gettimeofday",
    "__vdso_time",
];
/// What the image may take of every program's memory, and of the kernel's.
const IMAGE_PAGES_MAX: usize = 2;

fn parse() -> Elf<'static> {
    Elf::parse(IMAGE.bytes()).expect("the image is an ELF file")
}

#[test]
fn it_is_one_segment_without_anything_to_relocate_or_write() {
    let elf = parse();
    assert_eq!((elf.header.e_type, elf.header.e_machine), (ET_DYN, EM_X86_64));
    assert!(IMAGE.bytes().len() <= IMAGE_PAGES_MAX * PAGE_BYTES);
    assert!(IMAGE.bytes().as_ptr().addr().is_multiple_of(PAGE_BYTES));
    let kinds: Vec<u32> = elf.program_headers.iter().map(|header| header.p_type).collect();
    assert_eq!(kinds, [PT_LOAD, PT_DYNAMIC, PT_GNU_EH_FRAME]);
    let load = &elf.program_headers[0];
    assert_eq!((load.p_flags, load.p_offset, load.p_vaddr), (PF_R | PF_X, 0, 0));
    assert!(load.p_filesz == load.p_memsz && load.p_memsz <= IMAGE.bytes().len() as u64);
    assert!(elf.dynrels.is_empty() && elf.dynrelas.is_empty() && elf.pltrelocs.is_empty());
    assert!(elf.libraries.is_empty());
    let tags: Vec<u64> = elf.dynamic.iter().flat_map(|dynamic| dynamic.dyns.iter().map(|entry| entry.d_tag)).collect();
    // musl looks for the older table, glibc and Go for the newer one first.
    for tag in [dynamic::DT_HASH, dynamic::DT_GNU_HASH, dynamic::DT_VERSYM, dynamic::DT_VERDEF, dynamic::DT_SONAME] {
        assert!(tags.contains(&tag), "no tag {tag:#x}");
    }
}

#[test]
fn its_functions_have_their_names_and_linux_s_version() {
    let elf = parse();
    assert_eq!(elf.soname, Some("linux-vdso.so.1"));
    let versions = elf.verdef.as_ref().expect("there are versions");
    let name_of = |index: u16| {
        let version = versions.iter().find(|version| version.vd_ndx == index)?;
        elf.dynstrtab.get_at(version.iter().next()?.vda_name)
    };
    let symbols = elf.versym.as_ref().expect("symbols have versions");
    let mut found = BTreeMap::new();
    for (symbol, version) in elf.dynsyms.iter().zip(symbols.iter()).skip(1) {
        let name = elf.dynstrtab.get_at(symbol.st_name).expect("symbols have names");
        let expected = if name.starts_with("__nacre") { "NACRE_1" } else { "LINUX_2.6" };
        assert_eq!(name_of(version.version()), Some(expected), "{name}");
        assert_eq!((symbol.st_type(), symbol.st_bind()), (STT_FUNC, STB_GLOBAL), "{name}");
        found.insert(name, symbol.st_value);
    }
    for name in FUNCTIONS {
        let alias = name.trim_start_matches("__vdso_");
        assert_eq!(found.get(name), found.get(alias), "{name}");
        assert!(found.remove(name).is_some() && found.remove(alias).is_some(), "{name}");
    }
    assert!(found.remove("__nacre_calls").is_some());
    let by_syscall = found.remove("__nacre_by_syscall").and_then(|value| usize::try_from(value).ok());
    assert_eq!(by_syscall, Some(BY_SYSCALL_OFFSET));
    assert_eq!(IMAGE.bytes()[BY_SYSCALL_OFFSET..][..6], [0x49, 0x89, 0xca, 0x0f, 0x05, 0xc3]);
    assert!(found.is_empty(), "{found:?}");
}

/// The page and the image, mapped as in a program.
struct Mapped(*mut u8);

impl Mapped {
    fn new() -> Self {
        let len = PAGE_BYTES + IMAGE.bytes().len();
        // SAFETY: new memory, big enough for both; all of the page is atomics, for which zero is a value.
        unsafe {
            let start =
                mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                    .expect("there is memory")
                    .cast::<u8>();
            let image = start.add(PAGE_BYTES);
            image.copy_from_nonoverlapping(IMAGE.bytes().as_ptr(), IMAGE.bytes().len());
            let rights = MprotectFlags::READ | MprotectFlags::EXEC;
            mprotect(image.cast::<c_void>(), IMAGE.bytes().len(), rights).expect("it may be executed");
            Self(start)
        }
    }

    fn page(&self) -> &Page {
        // SAFETY: as `new` made it.
        unsafe { &*self.0.cast::<Page>() }
    }

    /// The address of a function.
    fn function(&self, name: &str) -> *const u8 {
        let elf = parse();
        let symbol = elf.dynsyms.iter().find(|symbol| elf.dynstrtab.get_at(symbol.st_name) == Some(name));
        let offset = symbol.expect("the function is there").st_value;
        self.0.wrapping_add(PAGE_BYTES + usize::try_from(offset).expect("a small offset"))
    }

    fn clock_gettime(&self, clock: i32) -> Result<[i64; 2], i32> {
        let mut time = [-1; 2];
        // SAFETY: the function has this type.
        let call: extern "C" fn(i32, &mut [i64; 2]) -> i32 =
            unsafe { std::mem::transmute(self.function("__vdso_clock_gettime")) };
        match call(clock, &mut time) {
            0 => Ok(time),
            error => Err(error),
        }
    }

    fn getrandom(&self, buffer: &mut [u8], flags: u32, state: *mut u8, state_len: usize) -> isize {
        // SAFETY: the function has this type.
        let call: extern "C" fn(*mut u8, usize, u32, *mut u8, usize) -> isize =
            unsafe { std::mem::transmute(self.function("__vdso_getrandom")) };
        call(buffer.as_mut_ptr(), buffer.len(), flags, state, state_len)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and nobody else has it.
        unsafe { munmap(self.0.cast::<c_void>(), PAGE_BYTES + IMAGE.bytes().len()) }.expect("it was mapped");
    }
}

fn ns([seconds, nanoseconds]: [i64; 2]) -> i64 {
    seconds * 1_000_000_000 + nanoseconds
}

#[test]
fn times_come_from_the_page() {
    let mapped = Mapped::new();
    // A counter that stands still, as it were: every reading is the time at the base.
    let now_ns = 1_234_567_890_123;
    mapped.page().clock.change_rate(|_| Rate { base_cycles: 0, base_ns: now_ns, multiplier: 0 });
    // SAFETY: every x86-64 processor has it.
    let cycles = unsafe { std::arch::x86_64::_rdtsc() };
    // One nanosecond in 2^32 cycles: more than a second of test moves it by one at most.
    mapped.page().clock.change_rate(|_| Rate { base_cycles: cycles, base_ns: now_ns, multiplier: 1 });
    mapped.page().clock.set_realtime_offset(1_700_000_000_000_000_000);
    for clock in 0..CLOCKS {
        let offset_ns = match 1 << clock {
            bit if bit & REALTIME_CLOCKS != 0 => 1_700_000_000_000_000_000,
            bit if bit & MONOTONIC_CLOCKS != 0 => 0,
            _ => continue,
        };
        let clock = i32::try_from(clock).expect("a small number");
        let told = ns(mapped.clock_gettime(clock).expect("the clock is there"));
        assert!((0..100).contains(&(told - offset_ns - 1_234_567_890_123)), "clock {clock}: {told}");
    }
    // SAFETY: the function has this type.
    let time: extern "C" fn(*mut i64) -> i64 = unsafe { std::mem::transmute(mapped.function("__vdso_time")) };
    // SAFETY: the function has this type.
    let gettimeofday: extern "C" fn(&mut [i64; 2], &mut [i32; 2]) -> i32 =
        unsafe { std::mem::transmute(mapped.function("__vdso_gettimeofday")) };
    mapped.page().zone.set(-60, 1);
    let (mut moment, mut zone) = ([0; 2], [0; 2]);
    assert_eq!((time(std::ptr::null_mut()), gettimeofday(&mut moment, &mut zone)), (1_700_001_234, 0));
    assert_eq!((moment, zone), ([1_700_001_234, 567_890], [-60, 1]));
}

#[test]
fn the_kernel_is_asked_where_the_page_does_not_tell() {
    let mapped = Mapped::new();
    mapped.page().clock.withdraw();
    let before = ns(mapped.clock_gettime(1).expect("Linux has it"));
    let after = ns(mapped.clock_gettime(1).expect("Linux has it"));
    assert!(0 < before && before <= after);
    assert!(mapped.clock_gettime(3).is_ok(), "the CPU time of the thread");
    for absent in [10, 12, 31, 32, 33, 63, 64, i32::MAX] {
        assert_eq!(mapped.clock_gettime(absent), Err(-22), "clock {absent}");
    }
}

/// Where a state lies: key behind the batch, then what its key is worth, where the batch is used up to, and the mark.
const KEY: usize = 96;
const GENERATION: usize = 128;
const POSITION: usize = 136;
const IS_USED: usize = 137;
const STATE_LEN: usize = 144;

#[repr(align(256))]
struct State([u8; 256]);

impl State {
    fn generation(&self) -> u64 {
        u64::from_le_bytes(self.0[GENERATION..GENERATION + 8].try_into().expect("eight bytes"))
    }
}

fn seeded() -> Mapped {
    let mapped = Mapped::new();
    mapped.page().random.advance();
    mapped
}

#[test]
fn a_state_is_described_as_linux_describes_it() {
    let mapped = seeded();
    let mut parameters = [u32::MAX; 16];
    // SAFETY: the function has this type.
    let call: extern "C" fn(usize, usize, u32, &mut [u32; 16], usize) -> isize =
        unsafe { std::mem::transmute(mapped.function("__vdso_getrandom")) };
    assert_eq!(call(0, 0, 0, &mut parameters, usize::MAX), 0);
    // Readable and writable; MAP_DROPPABLE | MAP_ANONYMOUS.
    assert_eq!(parameters[..3], [u32::try_from(STATE_LEN).expect("it is small"), 3, 0x28]);
    assert_eq!(parameters[3..], [0; 13]);
}

#[test]
fn random_bytes_are_chacha20_by_the_key() {
    let mapped = seeded();
    let mut state = State([0; 256]);
    state.0[GENERATION] = 1;
    state.0[POSITION] = 96;
    let mut bytes = [0; 64];
    assert_eq!(mapped.getrandom(&mut bytes, 0, state.0.as_mut_ptr(), STATE_LEN), 64);
    // RFC 8439, A.1, test vectors 1 and 2: key and nonce of zero, blocks 0 and 1.
    let block_0 = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a37\
                   6a43b8f41518a11cc387b669b2ee6586";
    let block_1 = "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d5\
                   31ed1f28510afb45ace10a1f4b794d6f";
    assert_eq!(hexadecimal(&bytes), block_0);
    // Nothing was left in the batch, so the next block began it, and was itself not given out: the batch begins with it.
    assert_eq!(state.0[POSITION], 0);
    assert_eq!(hexadecimal(&state.0[..64]), block_1);
    assert_ne!(state.0[KEY..KEY + 32], [0; 32]);

    let mut next = [0; 70];
    assert_eq!(mapped.getrandom(&mut next, 0, state.0.as_mut_ptr(), STATE_LEN), 70);
    assert_eq!(hexadecimal(&next[..64]), block_1);
    // What was given out is gone.
    assert_eq!((state.0[POSITION], &state.0[..70]), (70, &[0; 70][..]));
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn lengths_of_every_kind_are_filled() {
    let mapped = seeded();
    let mut state = State([0; 256]);
    for len in (0..300).chain([4096, 65_537]) {
        let mut bytes = vec![0; len + 8];
        assert_eq!(mapped.getrandom(&mut bytes[..len], 0, state.0.as_mut_ptr(), STATE_LEN).cast_unsigned(), len);
        assert_eq!(bytes[len..], [0; 8], "beyond {len}");
        assert!(len < 16 || bytes[len - 16..len] != [0; 16], "the end of {len}");
        assert_eq!(state.0[IS_USED], 0);
    }
}

#[test]
fn a_key_is_renewed_when_it_is_old_or_gone() {
    let mapped = seeded();
    let mut state = State([0; 256]);
    let mut bytes = [0; 16];
    let mut draw = |state: &mut State| mapped.getrandom(&mut bytes, 0, state.0.as_mut_ptr(), STATE_LEN);
    assert_eq!(draw(&mut state), 16);
    let first: [u8; 32] = state.0[KEY..KEY + 32].try_into().expect("a key");
    assert_eq!((draw(&mut state), state.generation()), (16, 1));
    assert_eq!(state.0[KEY..KEY + 32], first);
    mapped.page().random.advance();
    assert_eq!((draw(&mut state), state.generation()), (16, 2));
    assert_ne!(state.0[KEY..KEY + 32], first);
    // As in a forked child.
    state.0.fill(0);
    assert_eq!((draw(&mut state), state.generation()), (16, 2));
    assert_ne!(state.0[KEY..KEY + 32], [0; 32]);
}

#[test]
fn the_kernel_is_asked_where_a_state_cannot_be_used() {
    let mapped = seeded();
    let mut state = State([0; 256]);
    let mut bytes = [0; 16];
    // In use by the code that a signal interrupted.
    state.0[IS_USED] = 1;
    assert_eq!(mapped.getrandom(&mut bytes, 0, state.0.as_mut_ptr(), STATE_LEN), 16);
    assert_eq!((state.generation(), state.0[IS_USED]), (0, 1));
    state.0[IS_USED] = 0;
    // Of another size; with flags that only the kernel may judge; before there was a seed.
    assert_eq!(mapped.getrandom(&mut bytes, 0, state.0.as_mut_ptr(), STATE_LEN + 1), 16);
    assert_eq!(mapped.getrandom(&mut bytes, 8, state.0.as_mut_ptr(), STATE_LEN), -22);
    assert_eq!(Mapped::new().getrandom(&mut bytes, 0, state.0.as_mut_ptr(), STATE_LEN), 16);
    assert_eq!(state.generation(), 0);
    // Across two pages.
    let across = mapped.0.wrapping_add(PAGE_BYTES - 10);
    assert_eq!(mapped.getrandom(&mut bytes, 0, across, STATE_LEN), -14);
}
