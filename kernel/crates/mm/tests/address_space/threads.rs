//! Several threads in one address space: faults that fetch pages race with calls that change the areas under them.

use std::sync::Arc;

use abi::{MremapFlags, ProtFlags, mman};
use mm::{Access, Backing, MapOptions, MapRequest, PAGE_SIZE, Rights, Sharing};
use testkit::{Cpu, Random, frames, threads};

use crate::support::{FakeFile, Observe};

const BASE: usize = 0x10_0000_0000;
const ARENA_PAGES: usize = 16;
const FILE_PAGES: u8 = 12;
const STEPS: usize = 3_000;

/// One random call or fault.
fn step(random: &mut Random, cpu: &Cpu, file: &Arc<FakeFile>) {
    let address = BASE + random.below(ARENA_PAGES) * PAGE_SIZE;
    let len = (1 + random.below(4)) * PAGE_SIZE;
    let other = BASE + random.below(ARENA_PAGES) * PAGE_SIZE;
    // What a call answers depends on what the others do.
    match random.below(16) {
        0..=1 => {
            let sharing = *random.pick(&[Sharing::Private, Sharing::Shared]);
            let backing = Backing::File { object: file.clone(), offset: 0, access: Rights::all() };
            let options = *random.pick(&[MapOptions::FIXED, MapOptions::FIXED | MapOptions::POPULATE]);
            let rights = Rights::READ | Rights::WRITE;
            let _ = cpu.space.map(MapRequest { address, length: len, rights, sharing, options, backing });
        }
        2 => {
            let _ = cpu.space.map(MapRequest::anonymous(len, Rights::READ | Rights::WRITE).at(address));
        }
        3 => {
            let _ = cpu.space.unmap(address, len);
        }
        4 => {
            let protection = *random.pick(&[ProtFlags::READ, ProtFlags::READ | ProtFlags::WRITE, ProtFlags::empty()]);
            let _ = cpu.space.protect(address, len, protection);
        }
        5 => {
            let _ = cpu.space.advise(address, len, mman::MADV_DONTNEED);
        }
        6 => {
            let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
            let _ = cpu.space.remap(address, len, len, flags, other);
        }
        7 => file.replace_pages(random.below(usize::from(FILE_PAGES))),
        _ => {
            let access = *random.pick(&[Access::Read, Access::Write]);
            let _ = cpu.space.fault(address, access);
        }
    }
}

#[test]
fn races_leave_everything_in_order() {
    for seed in 0..4 {
        let cpu = Cpu::new();
        let file = FakeFile::new(FILE_PAGES);
        let runners: Vec<_> = (0..4)
            .map(|thread| {
                let (cpu, file) = (cpu.clone(), Arc::clone(&file));
                threads::spawn(move || {
                    let mut random = Random::new(seed * 100 + thread);
                    for _ in 0..STEPS {
                        step(&mut random, &cpu, &file);
                    }
                })
            })
            .collect();
        for runner in runners {
            runner.join().unwrap();
        }
        cpu.check_invariants();
        file.check_mapped(&cpu);
        drop((cpu, file));
        assert_eq!(frames::used(), 0, "frames leak with seed {seed}");
    }
}
