//! System calls that are not about files, memory or signals.

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use abi::time::*;
use abi::{Errno, Rlimit, Rusage, Sysinfo, Timespec, Utsname};
use support::*;

fn errno(errno: Errno) -> i64 {
    errno.as_negative() as i64
}

/// The register of a negative `int` argument.
fn int(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

#[test]
fn identity() {
    let mut machine = boot();
    for (number, result) in [(39, 1), (186, 1), (110, 0), (111, 1), (102, 0), (104, 0), (107, 0), (108, 0)] {
        assert_eq!(machine.syscall(number, &[]), result, "{:?}", abi::name(number));
    }
    assert_eq!(machine.syscall(121, &[0]), 1);
    assert_eq!(machine.syscall(124, &[1]), 1);
    assert_eq!(machine.syscall(121, &[55]), errno(Errno::ESRCH));
    assert_eq!(machine.syscall(218, &[SCRATCH]), 1);
    machine.write(SCRATCH, &[7_u32, 5]);
    assert_eq!(machine.syscall(116, &[2, SCRATCH]), 0);
    assert_eq!(machine.syscall(115, &[0, 0]), 2);
    assert_eq!(machine.syscall(115, &[1, SCRATCH]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(115, &[2, SCRATCH]), 2);
    assert_eq!(machine.read::<[u32; 2]>(SCRATCH), [5, 7]);
    assert_eq!(machine.syscall(105, &[1000]), 0);
    assert_eq!(machine.syscall(105, &[0]), errno(Errno::EPERM));
    assert_eq!(machine.syscall(116, &[0, 0]), errno(Errno::EPERM));
    assert_eq!(machine.syscall(118, &[SCRATCH, SCRATCH + 4, SCRATCH + 8]), 0);
    assert_eq!(machine.read::<[u32; 3]>(SCRATCH), [1000; 3]);
}

#[test]
fn absent_calls_answer_enosys() {
    let mut machine = boot();
    for number in [335, 174, 470, u64::MAX] {
        assert_eq!(machine.syscall(number, &[]), errno(Errno::ENOSYS));
    }
}

#[test]
fn bad_pointers_are_efault() {
    let mut machine = boot();
    let bad = [0x10, CODE, 0x7fff_ffff_f000, 0xffff_8000_0000_0000];
    for pointer in bad {
        for (number, arguments) in
            [(63, vec![pointer]), (99, vec![pointer]), (228, vec![1, pointer]), (97, vec![7, pointer])]
        {
            assert_eq!(machine.syscall(number, &arguments), errno(Errno::EFAULT), "{number} {pointer:#x}");
        }
    }
}

#[test]
fn names_and_figures() {
    let mut machine = boot();
    assert_eq!(machine.syscall(63, &[SCRATCH]), 0);
    let names: Utsname = machine.read(SCRATCH);
    assert!(names.sysname.starts_with(b"Linux\0") && names.machine.starts_with(b"x86_64\0"));
    assert!(names.nodename.starts_with(b"shell\0"));
    machine.write(SCRATCH, b"pearl");
    assert_eq!(machine.syscall(170, &[SCRATCH, 5]), 0);
    machine.syscall(63, &[SCRATCH]);
    assert!(machine.read::<Utsname>(SCRATCH).nodename.starts_with(b"pearl\0"));
    assert_eq!(machine.syscall(99, &[SCRATCH]), 0);
    let figures: Sysinfo = machine.read(SCRATCH);
    assert!(figures.totalram > 0 && figures.uptime > 0 && figures.procs == 1 && figures.mem_unit == 1);
}

#[test]
fn random_numbers() {
    let mut machine = boot();
    assert_eq!(machine.syscall(318, &[SCRATCH, 1000, 0]), 1000);
    assert_ne!(machine.read::<[u8; 16]>(SCRATCH + 984), [0; 16]);
    assert_eq!(machine.read::<u64>(SCRATCH + 1000), 0);
    assert_eq!(machine.syscall(318, &[SCRATCH, 1, 8]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(318, &[SCRATCH, 1, 6]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(318, &[0x10, 1, 0]), errno(Errno::EFAULT));
    // Memory that ends in the middle gives what fitted, chunk by chunk.
    let end = SCRATCH + SCRATCH_LEN;
    assert_eq!(machine.syscall(318, &[end - 300, 1000, 0]), 300);
}

#[test]
fn limits() {
    let mut machine = boot();
    assert_eq!(machine.syscall(97, &[7, SCRATCH]), 0);
    assert_eq!(machine.read::<Rlimit>(SCRATCH).rlim_cur, 1024);
    machine.write(SCRATCH, &Rlimit::new(10, 20));
    assert_eq!(machine.syscall(302, &[0, 7, SCRATCH, SCRATCH + 16]), 0);
    assert_eq!(machine.read::<Rlimit>(SCRATCH + 16).rlim_cur, 1024);
    assert_eq!(machine.syscall(97, &[7, SCRATCH]), 0);
    assert_eq!(machine.read::<Rlimit>(SCRATCH), Rlimit::new(10, 20));
    assert_eq!(machine.syscall(97, &[16, SCRATCH]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(302, &[99, 7, 0, 0]), errno(Errno::ESRCH));
    assert_eq!(machine.syscall(98, &[0, SCRATCH]), 0);
    assert_eq!(machine.syscall(98, &[5, SCRATCH]), errno(Errno::EINVAL));
    assert!(machine.read::<Rusage>(SCRATCH).ru_maxrss > 0);
}

#[test]
fn clocks_run() {
    let mut machine = boot();
    let mut read = |clock: i32| {
        assert_eq!(machine.syscall(228, &[int(clock), SCRATCH]), 0, "{clock}");
        machine.read::<Timespec>(SCRATCH).to_nanoseconds().unwrap()
    };
    for clock in [0, 1, 2, 3, 4, 5, 6, 7, 11, !1 << 3 | 2, !1 << 3 | 6] {
        let first = read(clock);
        assert!(read(clock) >= first && first > 0);
    }
    assert!(read(CLOCK_REALTIME) > 1_600_000_000_000_000_000);
    for clock in [8, 9, 10, 12, -1, !99 << 3 | 2] {
        assert_eq!(machine.syscall(228, &[int(clock), SCRATCH]), errno(Errno::EINVAL), "{clock}");
    }
    assert_eq!(machine.syscall(229, &[5, SCRATCH]), 0);
    assert_eq!(machine.read::<Timespec>(SCRATCH).tv_nsec, 4_000_000);
    assert_eq!(machine.syscall(229, &[1, 0]), 0);
}

#[test]
fn sleeping() {
    let mut machine = boot();
    let start = std::time::Instant::now();
    machine.write(SCRATCH, &Timespec { tv_sec: 0, tv_nsec: 20_000_000 });
    assert_eq!(machine.syscall(35, &[SCRATCH, 0]), 0);
    assert!(start.elapsed().as_millis() >= 20);
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI] {
        let start = std::time::Instant::now();
        assert_eq!(machine.syscall(228, &[int(clock), SCRATCH]), 0);
        let now: Timespec = machine.read(SCRATCH);
        let target = now.to_nanoseconds().unwrap() + 10_000_000;
        machine.write(SCRATCH, &Timespec::from_nanoseconds(target.cast_signed()));
        assert_eq!(machine.syscall(230, &[int(clock), 1, SCRATCH, 0]), 0);
        assert!(start.elapsed().as_millis() >= 9, "{clock}");
        // A time that has passed is no wait.
        assert_eq!(machine.syscall(230, &[int(clock), 1, SCRATCH, 0]), 0);
    }
    for (seconds, nanoseconds) in [(0, 1_000_000_000), (-1, 0), (0, -1)] {
        machine.write(SCRATCH, &Timespec { tv_sec: seconds, tv_nsec: nanoseconds });
        assert_eq!(machine.syscall(35, &[SCRATCH, 0]), errno(Errno::EINVAL));
    }
    machine.write(SCRATCH, &Timespec { tv_sec: 0, tv_nsec: 1 });
    assert_eq!(machine.syscall(230, &[3, 0, SCRATCH, 0]), errno(Errno::EOPNOTSUPP));
    assert_eq!(machine.syscall(230, &[4, 0, SCRATCH, 0]), errno(Errno::EOPNOTSUPP));
    assert_eq!(machine.syscall(230, &[int(-2), 0, SCRATCH, 0]), errno(Errno::EINVAL));
}

#[test]
fn odds_and_ends() {
    let mut machine = boot();
    machine.write(SCRATCH, b"a name that is too long\0");
    assert_eq!(machine.syscall(157, &[15, SCRATCH]), 0);
    assert_eq!(machine.syscall(157, &[16, SCRATCH + 0x100]), 0);
    assert_eq!(&machine.read::<[u8; 16]>(SCRATCH + 0x100), b"a name that is \0");
    assert_eq!(machine.syscall(157, &[38, 1, 0, 0, 0]), 0);
    assert_eq!(machine.syscall(157, &[39, 0, 0, 0, 0]), 1);
    assert_eq!(machine.syscall(157, &[9999]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(158, &[0x1002, 0x1234_5000]), 0);
    assert_eq!(machine.syscall(158, &[0x1003, SCRATCH]), 0);
    assert_eq!(machine.read::<u64>(SCRATCH), 0x1234_5000);
    assert_eq!(machine.syscall(158, &[0x1002, 0x7fff_ffff_f000]), errno(Errno::EPERM));
    assert_eq!(machine.syscall(204, &[0, 128, SCRATCH]), 8);
    assert_eq!(machine.read::<u64>(SCRATCH), (1 << CPUS) - 1);
    assert_eq!(machine.syscall(204, &[0, 4, SCRATCH]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(309, &[SCRATCH, SCRATCH + 4, 0]), 0);
    assert_eq!(machine.syscall(24, &[]), 0);
    assert_eq!(machine.syscall(273, &[SCRATCH, 24]), 0);
    assert_eq!(machine.syscall(273, &[SCRATCH, 23]), errno(Errno::EINVAL));
}
