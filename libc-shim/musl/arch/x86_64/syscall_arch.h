/* How musl makes system calls: by calling a function of the kernel's.
 *
 * __nacre_calls has one entry for each number of arguments (src/nacre/calls.c). The number is in rax, the arguments are where
 * C has them, the answer is in rax. All registers that C functions may change do change, but no vector register.
 *
 * A call pushes: whatever includes this is compiled without a red zone.
 */
#define __SYSCALL_LL_E(x) (x)
#define __SYSCALL_LL_O(x) (x)

extern __attribute__((__visibility__("hidden"))) void *const *__nacre_calls;

#define __NACRE_CALL(count, ...) \
	register void *const *r11 __asm__("r11") = __nacre_calls; \
	__asm__ __volatile__ ("call *8*" #count "(%%r11)" \
		: "+a"(n), "+r"(r11), __VA_ARGS__ : : "r10", "cc", "memory")

static __inline long __syscall0(long n)
{
	long a, b, c, d;
	register long e __asm__("r8"), f __asm__("r9");
	__NACRE_CALL(0, "=D"(a), "=S"(b), "=d"(c), "=c"(d), "=r"(e), "=r"(f));
	return n;
}

static __inline long __syscall1(long n, long a)
{
	long b, c, d;
	register long e __asm__("r8"), f __asm__("r9");
	__NACRE_CALL(1, "+D"(a), "=S"(b), "=d"(c), "=c"(d), "=r"(e), "=r"(f));
	return n;
}

static __inline long __syscall2(long n, long a, long b)
{
	long c, d;
	register long e __asm__("r8"), f __asm__("r9");
	__NACRE_CALL(2, "+D"(a), "+S"(b), "=d"(c), "=c"(d), "=r"(e), "=r"(f));
	return n;
}

static __inline long __syscall3(long n, long a, long b, long c)
{
	long d;
	register long e __asm__("r8"), f __asm__("r9");
	__NACRE_CALL(3, "+D"(a), "+S"(b), "+d"(c), "=c"(d), "=r"(e), "=r"(f));
	return n;
}

static __inline long __syscall4(long n, long a, long b, long c, long d)
{
	register long e __asm__("r8"), f __asm__("r9");
	__NACRE_CALL(4, "+D"(a), "+S"(b), "+d"(c), "+c"(d), "=r"(e), "=r"(f));
	return n;
}

static __inline long __syscall5(long n, long a, long b, long c, long d, long e5)
{
	register long e __asm__("r8") = e5, f __asm__("r9");
	__NACRE_CALL(5, "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(e), "=r"(f));
	return n;
}

static __inline long __syscall6(long n, long a, long b, long c, long d, long e6, long f6)
{
	register long e __asm__("r8") = e6, f __asm__("r9") = f6;
	__NACRE_CALL(6, "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(e), "+r"(f));
	return n;
}

#undef __NACRE_CALL

#define VDSO_USEFUL
#define VDSO_CGT_SYM "__vdso_clock_gettime"
#define VDSO_CGT_VER "LINUX_2.6"
#define VDSO_GETCPU_SYM "__vdso_getcpu"
#define VDSO_GETCPU_VER "LINUX_2.6"

#define IPC_64 0
