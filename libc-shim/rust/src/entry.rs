//! The way into the kernel.
//!
//! Nacre's vDSO tells the address of a table with an entry for each number of arguments. The kernel may change what the table says
//! while the program runs, so a call always goes through it. Elsewhere the table is one of this file, whose entry executes
//! `syscall`.

use std::arch::{asm, naked_asm};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::vdso;

/// The entries for no argument up to six.
type Table = [unsafe extern "C" fn(); 7];

static BY_SYSCALL: Table = [by_syscall; 7];

/// Null until the first call has looked.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());

/// Does a system call and returns its answer as the kernel gives it: negative ones from -4095 on are errors. On Nacre it is the call of
/// a function, on Linux the instruction `syscall`.
///
/// ```
/// const SYS_WRITE: usize = 1;
/// const EBADF: isize = 9;
/// let text = "hello\n";
/// // SAFETY: the text may be read.
/// let answer = unsafe { nacre::system_call(SYS_WRITE, [usize::MAX, text.as_ptr().addr(), text.len(), 0, 0, 0]) };
/// assert_eq!(answer, -EBADF);
/// ```
///
/// # Safety
/// What the call does with the program's memory and threads is allowed. Calls that return twice or elsewhere (`clone`, `fork`, `vfork`,
/// `rt_sigreturn`) have to be made by the instruction.
#[inline]
pub unsafe fn system_call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let answer: isize;
    // SAFETY: per the contract. The entry changes what a C function may change, but for vector registers.
    unsafe {
        asm!("call [r11 + 48]", inlateout("rax") number => answer, inlateout("rdi") a => _, inlateout("rsi") b => _,
            inlateout("rdx") c => _, inlateout("rcx") d => _, inlateout("r8") e => _, inlateout("r9") f => _,
            inlateout("r11") table() => _, lateout("r10") _);
    }
    answer
}

/// Whether this is Nacre.
///
/// ```
/// let place = if nacre::is_native() { "Nacre" } else { "Linux" };
/// println!("hello from {place}");
/// ```
pub fn is_native() -> bool {
    !std::ptr::eq(table(), &raw const BY_SYSCALL)
}

#[inline]
fn table() -> *const Table {
    let table = TABLE.load(Ordering::Relaxed);
    if table.is_null() { find() } else { table }
}

#[cold]
fn find() -> *const Table {
    let table = vdso::function(c"__nacre_calls").map_or(std::ptr::null(), |function| {
        // SAFETY: the function of this name has this type.
        let function: extern "C" fn() -> *const Table = unsafe { std::mem::transmute(function) };
        function()
    });
    let table = if table.is_null() { &raw const BY_SYSCALL } else { table };
    TABLE.store(table.cast_mut(), Ordering::Relaxed);
    table
}

/// The entry where there is no kernel that has one.
#[unsafe(naked)]
unsafe extern "C" fn by_syscall() {
    naked_asm!("mov r10, rcx", "syscall", "ret")
}
