//! Which system calls of Rust's standard library are calls of functions: all of them, counted on their way through the
//! table of the C library of libc-shim. The counts are the same on Linux, where the functions behind the table use the instruction.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

mod table {
    use std::ffi::{c_int, c_long, c_void};

    unsafe extern "C" {
        // The C library's own variable: where its calls go.
        static mut __nacre_calls: *const *const c_void;
        static counted_calls: [*const c_void; 7];
        static mut counted: u64;
        static mut calls_before: *const *const c_void;
        fn nacre_is_native() -> c_int;
        fn syscall(number: c_long, ...) -> c_long;
    }

    // One function for each number of arguments: it counts and goes on to the one that stood there, with every register as it
    // was but r11, which a call may change.
    std::arch::global_asm!(
        ".data",
        ".balign 8",
        "counted: .quad 0",
        "calls_before: .quad 0",
        "counted_calls: .quad count_0, count_1, count_2, count_3, count_4, count_5, count_6",
        ".globl counted, calls_before, counted_calls",
        ".text",
        ".irp n, 0,1,2,3,4,5,6",
        "count_\\n: lock inc qword ptr [rip + counted]",
        "mov r11, [rip + calls_before]",
        "jmp [r11 + 8*\\n]",
        ".endr",
    );

    /// Counts from here on. Answers whether calls are functions of the kernel where it has such.
    pub fn count() -> bool {
        const NACRE_BATCH: c_long = 0x4e_0000;
        // SAFETY: no other thread runs yet. The functions of the new table do what those of the old one do.
        unsafe {
            let is_right =
                (nacre_is_native() != 0) == (syscall(NACRE_BATCH, 0 as c_long, 0 as c_long, 0 as c_long) == 0);
            calls_before = __nacre_calls;
            __nacre_calls = (&raw const counted_calls).cast();
            is_right
        }
    }

    /// How many calls there were.
    pub fn calls() -> u64 {
        // SAFETY: an aligned word.
        unsafe { (&raw const counted).read_volatile() }
    }
}

/// What `action` answers, and how many calls it made.
fn counting<T>(action: impl FnOnce() -> T) -> (T, u64) {
    let before = table::calls();
    let answer = action();
    (answer, table::calls() - before)
}

fn main() -> std::io::Result<()> {
    println!("by functions where they are: {}", table::count());
    fs::create_dir_all("tmp")?;
    let path = "tmp/counted";

    let (file, opened) = counting(|| File::options().read(true).write(true).create(true).truncate(true).open(path));
    let mut file = file?;
    let (_, wrote) = counting(|| (0..100).try_for_each(|_| file.write_all(b"0123456789")));
    let (_, sought) = counting(|| file.seek(SeekFrom::Start(5)));
    let mut bytes = [0; 10];
    let (_, read) = counting(|| file.read_exact(&mut bytes));
    let (_, closed) = counting(|| drop(file));
    println!("open {opened}, write {wrote}, seek {sought}, read {read}, close {closed}: {:?}", str::from_utf8(&bytes));
    let (length, looked) = counting(|| fs::metadata(path).map(|file| file.len()));
    let (_, removed) = counting(|| fs::remove_file(path));
    println!("stat {looked}, remove {removed}: {} bytes", length?);

    // The clock is the vDSO's.
    let (order, clocks) = counting(|| {
        let mut last = Instant::now();
        (0..1000).all(|_| {
            let (now, before) = (Instant::now(), last);
            last = now;
            before <= now && SystemTime::now() > SystemTime::UNIX_EPOCH
        })
    });
    println!("clocks {clocks}, in order: {order}");
    let (_, slept) = counting(|| thread::sleep(Duration::from_millis(2)));
    println!("sleep {slept}");

    // How often threads wait differs; that they do by functions does not.
    let (sum, calls) = counting(|| {
        let (sum, barrier) = (Arc::new(Mutex::new(0)), Arc::new(Barrier::new(4)));
        let (sender, receiver) = mpsc::channel();
        let threads: Vec<_> = (1..=4)
            .map(|number| {
                let (sum, barrier, sender) = (Arc::clone(&sum), Arc::clone(&barrier), sender.clone());
                thread::spawn(move || {
                    barrier.wait();
                    *sum.lock().unwrap() += number;
                    sender.send(number).unwrap();
                })
            })
            .collect();
        drop(sender);
        let received: i32 = receiver.iter().sum();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        (*sum.lock().unwrap(), received)
    });
    println!("threads {}: {sum:?}", calls > 8);

    let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(7)));
    println!("unwound: {:?}", caught.unwrap_err().downcast_ref::<i32>());
    Ok(())
}
