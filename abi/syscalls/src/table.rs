//! The system call table: every call of Linux on x86-64, one row each.
//!
//! A row is `NUMBER name(argument: Type, ...) = Level("note");`. The level says how much of the call is there:
//! `Full`, `Partial` (the note says what is missing) or `Absent`. A row that is not absent needs a handler of the
//! same name and arguments, or the kernel does not build; an absent one answers `ENOSYS`. Rows are in the order of
//! their numbers. `docs/SYSCALLS.md` is generated from here and a test keeps it current.
//!
//! Arguments named for C `int` are `i32`, `unsigned` is `u32`, `size_t` is `usize`, `long` is `i64`; flags stay plain
//! integers here and are checked by the handler, so that unknown bits are refused as Linux refuses them.

/// How much of a system call is implemented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// All of it that a program can tell.
    Full,
    /// Some; the note of the row says what is missing.
    Partial,
    /// None: it answers `ENOSYS`.
    Absent,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct SyscallRow {
    /// The number in `rax`.
    pub number: u16,
    /// The name Linux gives it.
    pub name: &'static str,
    /// The arguments in order: name and type.
    pub arguments: &'static [(&'static str, &'static str)],
    /// How much of it is there.
    pub level: Level,
    /// What is missing or special; may be empty.
    pub note: &'static str,
}

macro_rules! collect_rows {
    ($($number:literal $name:ident($($argument:ident: $type:ty),*) = $level:ident($note:literal);)*) => {
        /// All rows, in the order of their numbers.
        pub const SYSCALLS: &[SyscallRow] = &[$(SyscallRow {
            number: $number,
            name: stringify!($name),
            arguments: &[$((stringify!($argument), stringify!($type)),)*],
            level: Level::$level,
            note: $note,
        },)*];

        /// The name of the system call with this number.
        pub const fn name(number: u64) -> Option<&'static str> {
            match number { $($number => Some(stringify!($name)),)* _ => None }
        }
    };
}

crate::for_each_syscall!(collect_rows);

/// Gives all rows of the table to a macro.
#[macro_export]
macro_rules! for_each_syscall {
    ($callback:ident) => {
        $callback! {
0 read(fd: Fd, buffer: UserPtr, count: usize) = Full("");
1 write(fd: Fd, buffer: UserPtr, count: usize) = Full("");
2 open(path: UserPtr, flags: u32, mode: u32) = Full("");
3 close(fd: Fd) = Full("");
4 stat(path: UserPtr, status: UserPtr) = Full("");
5 fstat(fd: Fd, status: UserPtr) = Full("");
6 lstat(path: UserPtr, status: UserPtr) = Full("");
7 poll(descriptors: UserPtr, count: u32, timeout_ms: i32) = Full("");
8 lseek(fd: Fd, offset: i64, whence: u32) = Full("");
9 mmap(address: usize, length: usize, protection: u64, flags: u64, fd: Fd, offset: u64) = Full("");
10 mprotect(address: usize, length: usize, protection: u64) = Full("");
11 munmap(address: usize, length: usize) = Full("");
12 brk(address: usize) = Full("");
13 rt_sigaction(signal: i32, action: UserPtr, old_action: UserPtr, set_size: usize) = Full("");
14 rt_sigprocmask(how: i32, set: UserPtr, old_set: UserPtr, set_size: usize) = Full("");
15 rt_sigreturn() = Full("");
16 ioctl(fd: Fd, command: u32, argument: u64) = Partial("what each kind of file answers");
17 pread64(fd: Fd, buffer: UserPtr, count: usize, offset: i64) = Full("");
18 pwrite64(fd: Fd, buffer: UserPtr, count: usize, offset: i64) = Full("");
19 readv(fd: Fd, vector: UserPtr, vector_length: u64) = Full("");
20 writev(fd: Fd, vector: UserPtr, vector_length: u64) = Full("");
21 access(path: UserPtr, mode: u32) = Full("");
22 pipe(descriptors: UserPtr) = Full("");
23 select(count: i32, read: UserPtr, write: UserPtr, except: UserPtr, timeout: UserPtr) = Full("");
24 sched_yield() = Full("");
25 mremap(address: usize, old_length: usize, new_length: usize, flags: u64, new_address: usize) = Full("");
26 msync(address: usize, length: usize, flags: u32) = Full("");
27 mincore(address: usize, length: usize, vector: UserPtr) = Full("");
28 madvise(address: usize, length: usize, advice: u32) = Full("");
29 shmget(key: i32, size: usize, flags: i32) = Absent("");
30 shmat(id: i32, address: usize, flags: i32) = Absent("");
31 shmctl(id: i32, command: i32, buffer: UserPtr) = Absent("");
32 dup(fd: Fd) = Full("");
33 dup2(old: Fd, new: Fd) = Full("");
34 pause() = Full("");
35 nanosleep(request: UserPtr, remaining: UserPtr) = Full("");
36 getitimer(which: i32, value: UserPtr) = Full("");
37 alarm(seconds: u32) = Full("");
38 setitimer(which: i32, value: UserPtr, old_value: UserPtr) = Full("");
39 getpid() = Full("");
40 sendfile(output: Fd, input: Fd, offset: UserPtr, count: usize) = Full("");
41 socket(domain: i32, kind: i32, protocol: i32) = Partial("the Internet, the Unix domain, netlink and vsock (no SIOCOUTQ, SO_LINGER, SO_ZEROCOPY there); no packet, ... sockets");
42 connect(fd: Fd, address: UserPtr, length: u32) = Full("");
43 accept(fd: Fd, address: UserPtr, length: UserPtr) = Full("");
44 sendto(fd: Fd, buffer: UserPtr, count: usize, flags: u32, address: UserPtr, length: u32) = Full("");
45 recvfrom(fd: Fd, buffer: UserPtr, count: usize, flags: u32, address: UserPtr, length: UserPtr) = Full("");
46 sendmsg(fd: Fd, message: UserPtr, flags: u32) = Full("");
47 recvmsg(fd: Fd, message: UserPtr, flags: u32) = Full("");
48 shutdown(fd: Fd, how: i32) = Full("");
49 bind(fd: Fd, address: UserPtr, length: u32) = Full("");
50 listen(fd: Fd, backlog: i32) = Full("");
51 getsockname(fd: Fd, address: UserPtr, length: UserPtr) = Full("");
52 getpeername(fd: Fd, address: UserPtr, length: UserPtr) = Full("");
53 socketpair(domain: i32, kind: i32, protocol: i32, descriptors: UserPtr) = Full("");
54 setsockopt(fd: Fd, level: i32, option: i32, value: UserPtr, length: i32) = Partial("no socket filters; of SOL_SOCKET no SO_TIMESTAMPING, ZEROCOPY, TXTIME, MEMINFO, PREFER_BUSY_POLL, BUSY_POLL_BUDGET, NETNS_COOKIE, RESERVE_MEM, TXREHASH, RCVMARK, RCVPRIORITY, PASSPIDFD, PEERPIDFD, PASSRIGHTS, INQ; of IP no IP_RECVOPTS, RETOPTS, PKTOPTIONS, ROUTER_ALERT, MINTTL, CHECKSUM, RECVFRAGSIZE, RECVERR_RFC4884, MSFILTER, LOCAL_PORT_RANGE, IP options or IPsec policies to be set; of IPv6 no extension headers in either form, flow labels, ADDRFORM, anycast, sticky PKTINFO, IPV6_MTU to be set, PATHMTU, MINHOPCOUNT, ADDR_PREFERENCES, RECVFRAGSIZE; of TCP no MD5SIG, ULP, REPAIR, SAVE_SYN, TX_DELAY, ZEROCOPY_RECEIVE, thin streams, CC_INFO, RTO and delayed-ACK bounds; of netlink no PKTINFO, BROADCAST_ERROR, LISTEN_ALL_NSID, GET_STRICT_CHK; SO_MAX_PACING_RATE paces TCP on the network alone; SO_NO_CHECK leaves the checksum in");
55 getsockopt(fd: Fd, level: i32, option: i32, value: UserPtr, length: UserPtr) = Partial("as setsockopt");
56 clone(flags: u64, stack: usize, parent_tid: UserPtr, child_tid: UserPtr, tls: u64) = Partial("threads (CLONE_THREAD); processes and CLONE_VFORK answer ENOSYS, namespaces and CLONE_PIDFD EINVAL, CLONE_INTO_CGROUP EBADF");
57 fork() = Absent("");
58 vfork() = Absent("");
59 execve(path: UserPtr, arguments: UserPtr, environment: UserPtr) = Partial("not set-user-id bits");
60 exit(status: i32) = Full("");
61 wait4(pid: i32, status: UserPtr, options: u32, usage: UserPtr) = Absent("");
62 kill(pid: i32, signal: i32) = Full("");
63 uname(buffer: UserPtr) = Full("");
64 semget(key: i32, count: i32, flags: i32) = Absent("");
65 semop(id: i32, operations: UserPtr, count: u32) = Absent("");
66 semctl(id: i32, number: i32, command: i32, argument: u64) = Absent("");
67 shmdt(address: usize) = Absent("");
68 msgget(key: i32, flags: i32) = Absent("");
69 msgsnd(id: i32, message: UserPtr, size: usize, flags: i32) = Absent("");
70 msgrcv(id: i32, message: UserPtr, size: usize, kind: i64, flags: i32) = Absent("");
71 msgctl(id: i32, command: i32, buffer: UserPtr) = Absent("");
72 fcntl(fd: Fd, command: u32, argument: u64) = Full("");
73 flock(fd: Fd, operation: u32) = Full("");
74 fsync(fd: Fd) = Full("");
75 fdatasync(fd: Fd) = Full("");
76 truncate(path: UserPtr, length: i64) = Full("");
77 ftruncate(fd: Fd, length: i64) = Full("");
78 getdents(fd: Fd, buffer: UserPtr, count: u32) = Full("");
79 getcwd(buffer: UserPtr, size: usize) = Full("");
80 chdir(path: UserPtr) = Full("");
81 fchdir(fd: Fd) = Full("");
82 rename(old_path: UserPtr, new_path: UserPtr) = Full("");
83 mkdir(path: UserPtr, mode: u32) = Full("");
84 rmdir(path: UserPtr) = Full("");
85 creat(path: UserPtr, mode: u32) = Full("");
86 link(old_path: UserPtr, new_path: UserPtr) = Full("");
87 unlink(path: UserPtr) = Full("");
88 symlink(target: UserPtr, path: UserPtr) = Full("");
89 readlink(path: UserPtr, buffer: UserPtr, size: i32) = Full("");
90 chmod(path: UserPtr, mode: u32) = Full("");
91 fchmod(fd: Fd, mode: u32) = Full("");
92 chown(path: UserPtr, user: u32, group: u32) = Full("");
93 fchown(fd: Fd, user: u32, group: u32) = Full("");
94 lchown(path: UserPtr, user: u32, group: u32) = Full("");
95 umask(mask: u32) = Full("");
96 gettimeofday(time: UserPtr, zone: UserPtr) = Full("");
97 getrlimit(resource: u32, limit: UserPtr) = Full("");
98 getrusage(who: i32, usage: UserPtr) = Partial("no figures for children and blocks of I/O");
99 sysinfo(buffer: UserPtr) = Full("");
100 times(buffer: UserPtr) = Full("");
101 ptrace(request: i64, pid: i64, address: u64, data: u64) = Absent("");
102 getuid() = Full("");
103 syslog(kind: i32, buffer: UserPtr, length: i32) = Partial("reads all and clears; reading once, the console's level and what is unread are ENOSYS");
104 getgid() = Full("");
105 setuid(user: u32) = Full("");
106 setgid(group: u32) = Full("");
107 geteuid() = Full("");
108 getegid() = Full("");
109 setpgid(pid: i32, group: i32) = Full("");
110 getppid() = Full("");
111 getpgrp() = Full("");
112 setsid() = Full("");
113 setreuid(real: u32, effective: u32) = Full("");
114 setregid(real: u32, effective: u32) = Full("");
115 getgroups(count: i32, groups: UserPtr) = Full("");
116 setgroups(count: i32, groups: UserPtr) = Full("");
117 setresuid(real: u32, effective: u32, saved: u32) = Full("");
118 getresuid(real: UserPtr, effective: UserPtr, saved: UserPtr) = Full("");
119 setresgid(real: u32, effective: u32, saved: u32) = Full("");
120 getresgid(real: UserPtr, effective: UserPtr, saved: UserPtr) = Full("");
121 getpgid(pid: i32) = Full("");
122 setfsuid(user: u32) = Full("");
123 setfsgid(group: u32) = Full("");
124 getsid(pid: i32) = Full("");
125 capget(header: UserPtr, data: UserPtr) = Full("");
126 capset(header: UserPtr, data: UserPtr) = Full("");
127 rt_sigpending(set: UserPtr, set_size: usize) = Full("");
128 rt_sigtimedwait(set: UserPtr, info: UserPtr, timeout: UserPtr, set_size: usize) = Full("");
129 rt_sigqueueinfo(pid: i32, signal: i32, info: UserPtr) = Full("");
130 rt_sigsuspend(set: UserPtr, set_size: usize) = Full("");
131 sigaltstack(stack: UserPtr, old_stack: UserPtr) = Full("");
132 utime(path: UserPtr, times: UserPtr) = Full("");
133 mknod(path: UserPtr, mode: u32, device: u32) = Full("");
134 uselib(library: UserPtr) = Absent("");
135 personality(persona: u32) = Absent("");
136 ustat(device: u32, buffer: UserPtr) = Absent("");
137 statfs(path: UserPtr, buffer: UserPtr) = Full("");
138 fstatfs(fd: Fd, buffer: UserPtr) = Full("");
139 sysfs(option: i32, first: u64, second: u64) = Absent("");
140 getpriority(which: i32, who: i32) = Full("");
141 setpriority(which: i32, who: i32, nice: i32) = Full("");
142 sched_setparam(pid: i32, parameters: UserPtr) = Full("");
143 sched_getparam(pid: i32, parameters: UserPtr) = Full("");
144 sched_setscheduler(pid: i32, policy: i32, parameters: UserPtr) = Partial("no SCHED_EXT (EINVAL)");
145 sched_getscheduler(pid: i32) = Full("");
146 sched_get_priority_max(policy: i32) = Full("");
147 sched_get_priority_min(policy: i32) = Full("");
148 sched_rr_get_interval(pid: i32, interval: UserPtr) = Full("");
149 mlock(address: usize, length: usize) = Full("");
150 munlock(address: usize, length: usize) = Full("");
151 mlockall(flags: u32) = Full("");
152 munlockall() = Full("");
153 vhangup() = Absent("");
154 modify_ldt(function: i32, pointer: UserPtr, count: u64) = Absent("");
155 pivot_root(new_root: UserPtr, put_old: UserPtr) = Full("");
156 _sysctl(arguments: UserPtr) = Absent("removed from Linux");
157 prctl(option: i32, second: u64, third: u64, fourth: u64, fifth: u64) = Partial("names, death signal, dumpable, capabilities, timer slack, no_new_privs, subreaper; not seccomp, speculation control, PR_SET_MM, PR_SET_VMA");
158 arch_prctl(option: i32, address: u64) = Partial("fs base; ARCH_SET_GS where the machine can; not ARCH_SET_CPUID");
159 adjtimex(buffer: UserPtr) = Partial("the clock can be set, not slewed");
160 setrlimit(resource: u32, limit: UserPtr) = Full("");
161 chroot(path: UserPtr) = Full("");
162 sync() = Full("");
163 acct(path: UserPtr) = Absent("");
164 settimeofday(time: UserPtr, zone: UserPtr) = Full("");
165 mount(source: UserPtr, target: UserPtr, kind: UserPtr, flags: u64, data: UserPtr) = Partial("MS_DIRSYNC, MS_LAZYTIME and MS_MANDLOCK change nothing");
166 umount2(target: UserPtr, flags: u32) = Full("");
167 swapon(path: UserPtr, flags: i32) = Absent("");
168 swapoff(path: UserPtr) = Absent("");
169 reboot(magic1: u32, magic2: u32, command: u32, argument: UserPtr) = Absent("");
170 sethostname(name: UserPtr, length: i32) = Full("");
171 setdomainname(name: UserPtr, length: i32) = Full("");
172 iopl(level: u32) = Absent("");
173 ioperm(from: u64, count: u64, turn_on: i32) = Absent("");
174 create_module(name: UserPtr, size: usize) = Absent("removed from Linux");
175 init_module(image: UserPtr, length: usize, arguments: UserPtr) = Absent("");
176 delete_module(name: UserPtr, flags: u32) = Absent("");
177 get_kernel_syms(table: UserPtr) = Absent("removed from Linux");
178 query_module(name: UserPtr, which: i32, buffer: UserPtr, size: usize, result: UserPtr) = Absent("removed from Linux");
179 quotactl(command: u32, special: UserPtr, id: u32, address: UserPtr) = Absent("");
180 nfsservctl(command: i32, argument: UserPtr, result: UserPtr) = Absent("removed from Linux");
181 getpmsg() = Absent("never in Linux");
182 putpmsg() = Absent("never in Linux");
183 afs_syscall() = Absent("never in Linux");
184 tuxcall() = Absent("never in Linux");
185 security() = Absent("never in Linux");
186 gettid() = Full("");
187 readahead(fd: Fd, offset: i64, count: usize) = Full("");
188 setxattr(path: UserPtr, name: UserPtr, value: UserPtr, size: usize, flags: i32) = Full("");
189 lsetxattr(path: UserPtr, name: UserPtr, value: UserPtr, size: usize, flags: i32) = Full("");
190 fsetxattr(fd: Fd, name: UserPtr, value: UserPtr, size: usize, flags: i32) = Full("");
191 getxattr(path: UserPtr, name: UserPtr, value: UserPtr, size: usize) = Full("");
192 lgetxattr(path: UserPtr, name: UserPtr, value: UserPtr, size: usize) = Full("");
193 fgetxattr(fd: Fd, name: UserPtr, value: UserPtr, size: usize) = Full("");
194 listxattr(path: UserPtr, list: UserPtr, size: usize) = Full("");
195 llistxattr(path: UserPtr, list: UserPtr, size: usize) = Full("");
196 flistxattr(fd: Fd, list: UserPtr, size: usize) = Full("");
197 removexattr(path: UserPtr, name: UserPtr) = Full("");
198 lremovexattr(path: UserPtr, name: UserPtr) = Full("");
199 fremovexattr(fd: Fd, name: UserPtr) = Full("");
200 tkill(tid: i32, signal: i32) = Full("");
201 time(result: UserPtr) = Full("");
202 futex(word: UserPtr, operation: u32, value: u32, timeout: u64, second_word: UserPtr, third_value: u32) = Full("FUTEX_FD is refused, as on Linux");
203 sched_setaffinity(pid: i32, length: u32, mask: UserPtr) = Full("");
204 sched_getaffinity(pid: i32, length: u32, mask: UserPtr) = Full("");
205 set_thread_area(description: UserPtr) = Absent("not on x86-64 in Linux either");
206 io_setup(count: u32, context: UserPtr) = Absent("");
207 io_destroy(context: u64) = Absent("");
208 io_getevents(context: u64, count_min: i64, count: i64, events: UserPtr, timeout: UserPtr) = Absent("");
209 io_submit(context: u64, count: i64, blocks: UserPtr) = Absent("");
210 io_cancel(context: u64, block: UserPtr, result: UserPtr) = Absent("");
211 get_thread_area(description: UserPtr) = Absent("not on x86-64 in Linux either");
212 lookup_dcookie(cookie: u64, buffer: UserPtr, length: usize) = Absent("removed from Linux");
213 epoll_create(size: i32) = Full("");
214 epoll_ctl_old() = Absent("never in Linux");
215 epoll_wait_old() = Absent("never in Linux");
216 remap_file_pages(address: usize, length: usize, protection: u64, page_offset: u64, flags: u64) = Absent("");
217 getdents64(fd: Fd, buffer: UserPtr, count: u32) = Full("");
218 set_tid_address(address: UserPtr) = Full("");
219 restart_syscall() = Full("");
220 semtimedop(id: i32, operations: UserPtr, count: u32, timeout: UserPtr) = Absent("");
221 fadvise64(fd: Fd, offset: i64, length: i64, advice: i32) = Full("");
222 timer_create(clock: i32, event: UserPtr, id: UserPtr) = Full("");
223 timer_settime(id: i32, flags: i32, value: UserPtr, old_value: UserPtr) = Full("");
224 timer_gettime(id: i32, value: UserPtr) = Full("");
225 timer_getoverrun(id: i32) = Full("");
226 timer_delete(id: i32) = Full("");
227 clock_settime(clock: i32, time: UserPtr) = Full("");
228 clock_gettime(clock: i32, time: UserPtr) = Full("");
229 clock_getres(clock: i32, resolution: UserPtr) = Full("");
230 clock_nanosleep(clock: i32, flags: i32, request: UserPtr, remaining: UserPtr) = Full("");
231 exit_group(status: i32) = Full("");
232 epoll_wait(epoll: Fd, events: UserPtr, count: i32, timeout_ms: i32) = Full("");
233 epoll_ctl(epoll: Fd, operation: i32, fd: Fd, event: UserPtr) = Full("");
234 tgkill(group: i32, tid: i32, signal: i32) = Full("");
235 utimes(path: UserPtr, times: UserPtr) = Full("");
236 vserver() = Absent("never in Linux");
237 mbind(address: usize, length: usize, mode: u64, mask: UserPtr, node_max: u64, flags: u32) = Absent("");
238 set_mempolicy(mode: i32, mask: UserPtr, node_max: u64) = Absent("");
239 get_mempolicy(mode: UserPtr, mask: UserPtr, node_max: u64, address: usize, flags: u64) = Absent("");
240 mq_open(name: UserPtr, flags: u32, mode: u32, attributes: UserPtr) = Absent("");
241 mq_unlink(name: UserPtr) = Absent("");
242 mq_timedsend(queue: Fd, message: UserPtr, length: usize, priority: u32, timeout: UserPtr) = Absent("");
243 mq_timedreceive(queue: Fd, message: UserPtr, length: usize, priority: UserPtr, timeout: UserPtr) = Absent("");
244 mq_notify(queue: Fd, event: UserPtr) = Absent("");
245 mq_getsetattr(queue: Fd, attributes: UserPtr, old_attributes: UserPtr) = Absent("");
246 kexec_load(entry: u64, count: u64, segments: UserPtr, flags: u64) = Absent("");
247 waitid(which: i32, pid: i32, info: UserPtr, options: u32, usage: UserPtr) = Absent("");
248 add_key(kind: UserPtr, description: UserPtr, payload: UserPtr, length: usize, ring: i32) = Absent("");
249 request_key(kind: UserPtr, description: UserPtr, callout: UserPtr, ring: i32) = Absent("");
250 keyctl(option: i32, second: u64, third: u64, fourth: u64, fifth: u64) = Absent("");
251 ioprio_set(which: i32, who: i32, priority: i32) = Partial("remembered; devices serve requests in their order");
252 ioprio_get(which: i32, who: i32) = Full("");
253 inotify_init() = Full("");
254 inotify_add_watch(fd: Fd, path: UserPtr, mask: u32) = Partial("nothing is told of reads and writes of FIFOs and devices, nor of closing what is mapped");
255 inotify_rm_watch(fd: Fd, watch: i32) = Full("");
256 migrate_pages(pid: i32, node_max: u64, from: UserPtr, to: UserPtr) = Absent("");
257 openat(directory: Fd, path: UserPtr, flags: u32, mode: u32) = Full("");
258 mkdirat(directory: Fd, path: UserPtr, mode: u32) = Full("");
259 mknodat(directory: Fd, path: UserPtr, mode: u32, device: u32) = Full("");
260 fchownat(directory: Fd, path: UserPtr, user: u32, group: u32, flags: u32) = Full("");
261 futimesat(directory: Fd, path: UserPtr, times: UserPtr) = Full("");
262 newfstatat(directory: Fd, path: UserPtr, status: UserPtr, flags: u32) = Full("");
263 unlinkat(directory: Fd, path: UserPtr, flags: u32) = Full("");
264 renameat(old_directory: Fd, old_path: UserPtr, new_directory: Fd, new_path: UserPtr) = Full("");
265 linkat(old_directory: Fd, old_path: UserPtr, new_directory: Fd, new_path: UserPtr, flags: u32) = Full("");
266 symlinkat(target: UserPtr, directory: Fd, path: UserPtr) = Full("");
267 readlinkat(directory: Fd, path: UserPtr, buffer: UserPtr, size: i32) = Full("");
268 fchmodat(directory: Fd, path: UserPtr, mode: u32) = Full("");
269 faccessat(directory: Fd, path: UserPtr, mode: u32) = Full("");
270 pselect6(count: i32, read: UserPtr, write: UserPtr, except: UserPtr, timeout: UserPtr, mask: UserPtr) = Full("");
271 ppoll(descriptors: UserPtr, count: u32, timeout: UserPtr, mask: UserPtr, set_size: usize) = Full("");
272 unshare(flags: u64) = Partial("CLONE_FS, CLONE_FILES, CLONE_SYSVSEM; namespaces answer EINVAL");
273 set_robust_list(head: UserPtr, length: usize) = Full("");
274 get_robust_list(pid: i32, head: UserPtr, length: UserPtr) = Full("");
275 splice(input: Fd, input_offset: UserPtr, output: Fd, output_offset: UserPtr, length: usize, flags: u32) = Full("");
276 tee(input: Fd, output: Fd, length: usize, flags: u32) = Full("");
277 sync_file_range(fd: Fd, offset: i64, length: i64, flags: u32) = Full("");
278 vmsplice(fd: Fd, vector: UserPtr, vector_length: u64, flags: u32) = Partial("pages are copied, not given");
279 move_pages(pid: i32, count: u64, pages: UserPtr, nodes: UserPtr, status: UserPtr, flags: i32) = Absent("");
280 utimensat(directory: Fd, path: UserPtr, times: UserPtr, flags: u32) = Full("");
281 epoll_pwait(epoll: Fd, events: UserPtr, count: i32, timeout_ms: i32, mask: UserPtr, set_size: usize) = Full("");
282 signalfd(fd: Fd, mask: UserPtr, set_size: usize) = Partial("epoll reports signals of any thread");
283 timerfd_create(clock: i32, flags: u32) = Full("");
284 eventfd(initial: u32) = Full("");
285 fallocate(fd: Fd, mode: u32, offset: i64, length: i64) = Full("");
286 timerfd_settime(fd: Fd, flags: u32, value: UserPtr, old_value: UserPtr) = Full("");
287 timerfd_gettime(fd: Fd, value: UserPtr) = Full("");
288 accept4(fd: Fd, address: UserPtr, length: UserPtr, flags: u32) = Full("");
289 signalfd4(fd: Fd, mask: UserPtr, set_size: usize, flags: u32) = Partial("epoll reports signals of any thread");
290 eventfd2(initial: u32, flags: u32) = Full("");
291 epoll_create1(flags: u32) = Full("");
292 dup3(old: Fd, new: Fd, flags: u32) = Full("");
293 pipe2(descriptors: UserPtr, flags: u32) = Full("");
294 inotify_init1(flags: u32) = Full("");
295 preadv(fd: Fd, vector: UserPtr, vector_length: u64, offset_low: u64, offset_high: u64) = Full("");
296 pwritev(fd: Fd, vector: UserPtr, vector_length: u64, offset_low: u64, offset_high: u64) = Full("");
297 rt_tgsigqueueinfo(group: i32, tid: i32, signal: i32, info: UserPtr) = Full("");
298 perf_event_open(attributes: UserPtr, pid: i32, cpu: i32, group: Fd, flags: u64) = Absent("");
299 recvmmsg(fd: Fd, messages: UserPtr, count: u32, flags: u32, timeout: UserPtr) = Full("");
300 fanotify_init(flags: u32, event_flags: u32) = Absent("");
301 fanotify_mark(fd: Fd, flags: u32, mask: u64, directory: Fd, path: UserPtr) = Absent("");
302 prlimit64(pid: i32, resource: u32, new_limit: UserPtr, old_limit: UserPtr) = Full("");
303 name_to_handle_at(directory: Fd, path: UserPtr, handle: UserPtr, mount: UserPtr, flags: u32) = Absent("");
304 open_by_handle_at(mount: Fd, handle: UserPtr, flags: u32) = Absent("");
305 clock_adjtime(clock: i32, buffer: UserPtr) = Partial("the clock can be set, not slewed");
306 syncfs(fd: Fd) = Full("");
307 sendmmsg(fd: Fd, messages: UserPtr, count: u32, flags: u32) = Full("");
308 setns(fd: Fd, kind: i32) = Partial("there is one namespace of each kind; no pidfds");
309 getcpu(cpu: UserPtr, node: UserPtr, unused: UserPtr) = Full("");
310 process_vm_readv(pid: i32, local: UserPtr, local_length: u64, remote: UserPtr, remote_length: u64, flags: u64) = Absent("");
311 process_vm_writev(pid: i32, local: UserPtr, local_length: u64, remote: UserPtr, remote_length: u64, flags: u64) = Absent("");
312 kcmp(first_pid: i32, second_pid: i32, kind: i32, first: u64, second: u64) = Absent("");
313 finit_module(fd: Fd, arguments: UserPtr, flags: i32) = Absent("");
314 sched_setattr(pid: i32, attributes: UserPtr, flags: u32) = Partial("SCHED_DEADLINE is refused with EPERM, utilisation clamps with EOPNOTSUPP; slices of fair threads stay as they are");
315 sched_getattr(pid: i32, attributes: UserPtr, size: u32, flags: u32) = Full("");
316 renameat2(old_directory: Fd, old_path: UserPtr, new_directory: Fd, new_path: UserPtr, flags: u32) = Full("");
317 seccomp(operation: u32, flags: u32, arguments: UserPtr) = Absent("");
318 getrandom(buffer: UserPtr, count: usize, flags: u32) = Full("never blocks: the generator is seeded before the first program runs");
319 memfd_create(name: UserPtr, flags: u32) = Partial("no MFD_HUGETLB");
320 kexec_file_load(kernel: Fd, ramdisk: Fd, length: u64, command_line: UserPtr, flags: u64) = Absent("");
321 bpf(command: i32, attributes: UserPtr, size: u32) = Absent("");
322 execveat(directory: Fd, path: UserPtr, arguments: UserPtr, environment: UserPtr, flags: u32) = Partial("not set-user-id bits");
323 userfaultfd(flags: u32) = Absent("");
324 membarrier(command: i32, flags: u32, cpu: i32) = Full("");
325 mlock2(address: usize, length: usize, flags: u32) = Full("");
326 copy_file_range(input: Fd, input_offset: UserPtr, output: Fd, output_offset: UserPtr, length: usize, flags: u32) = Full("");
327 preadv2(fd: Fd, vector: UserPtr, vector_length: u64, offset_low: u64, offset_high: u64, flags: u32) = Partial("RWF_HIPRI has no effect; RWF_NOWAIT starts no reading ahead");
328 pwritev2(fd: Fd, vector: UserPtr, vector_length: u64, offset_low: u64, offset_high: u64, flags: u32) = Partial("RWF_HIPRI has no effect");
329 pkey_mprotect(address: usize, length: usize, protection: u64, key: i32) = Absent("");
330 pkey_alloc(flags: u64, rights: u64) = Absent("");
331 pkey_free(key: i32) = Absent("");
332 statx(directory: Fd, path: UserPtr, flags: u32, mask: u32, status: UserPtr) = Full("");
333 io_pgetevents(context: u64, count_min: i64, count: i64, events: UserPtr, timeout: UserPtr, mask: UserPtr) = Absent("");
334 rseq(area: UserPtr, length: u32, flags: u32, signature: u32) = Full("mm_cid is the number of the CPU");
424 pidfd_send_signal(pidfd: Fd, signal: i32, info: UserPtr, flags: u32) = Absent("");
425 io_uring_setup(entries: u32, parameters: UserPtr) = Absent("");
426 io_uring_enter(fd: Fd, to_submit: u32, complete_min: u32, flags: u32, argument: UserPtr, size: usize) = Absent("");
427 io_uring_register(fd: Fd, operation: u32, argument: UserPtr, count: u32) = Absent("");
428 open_tree(directory: Fd, path: UserPtr, flags: u32) = Full("");
429 move_mount(from_directory: Fd, from_path: UserPtr, to_directory: Fd, to_path: UserPtr, flags: u32) = Partial("no groups of mounts (MOVE_MOUNT_SET_GROUP), no MOVE_MOUNT_BENEATH");
430 fsopen(name: UserPtr, flags: u32) = Full("");
431 fsconfig(fd: Fd, command: u32, key: UserPtr, value: UserPtr, auxiliary: i32) = Partial("flags and strings; options are looked at when the file system is made; nothing is said in the log");
432 fsmount(fd: Fd, flags: u32, attributes: u32) = Full("");
433 fspick(directory: Fd, path: UserPtr, flags: u32) = Full("");
434 pidfd_open(pid: i32, flags: u32) = Absent("");
435 clone3(arguments: UserPtr, size: usize) = Partial("threads (CLONE_THREAD); processes and CLONE_VFORK answer ENOSYS, namespaces and CLONE_PIDFD EINVAL, CLONE_INTO_CGROUP EBADF");
436 close_range(first: u32, last: u32, flags: u32) = Full("");
437 openat2(directory: Fd, path: UserPtr, how: UserPtr, size: usize) = Full("");
438 pidfd_getfd(pidfd: Fd, fd: Fd, flags: u32) = Absent("");
439 faccessat2(directory: Fd, path: UserPtr, mode: u32, flags: u32) = Full("");
440 process_madvise(pidfd: Fd, vector: UserPtr, vector_length: usize, advice: i32, flags: u32) = Absent("");
441 epoll_pwait2(epoll: Fd, events: UserPtr, count: i32, timeout: UserPtr, mask: UserPtr, set_size: usize) = Full("");
442 mount_setattr(directory: Fd, path: UserPtr, flags: u32, attributes: UserPtr, size: usize) = Partial("no MOUNT_ATTR_IDMAP");
443 quotactl_fd(fd: Fd, command: u32, id: u32, address: UserPtr) = Absent("");
444 landlock_create_ruleset(attributes: UserPtr, size: usize, flags: u32) = Absent("");
445 landlock_add_rule(ruleset: Fd, kind: i32, attributes: UserPtr, flags: u32) = Absent("");
446 landlock_restrict_self(ruleset: Fd, flags: u32) = Absent("");
447 memfd_secret(flags: u32) = Absent("");
448 process_mrelease(pidfd: Fd, flags: u32) = Absent("");
449 futex_waitv(waiters: UserPtr, count: u32, flags: u32, timeout: UserPtr, clock: i32) = Full("");
450 set_mempolicy_home_node(address: usize, length: usize, node: u64, flags: u64) = Absent("");
451 cachestat(fd: Fd, range: UserPtr, result: UserPtr, flags: u32) = Partial("evicted pages are not remembered: 0");
452 fchmodat2(directory: Fd, path: UserPtr, mode: u32, flags: u32) = Full("");
453 map_shadow_stack(address: usize, size: usize, flags: u32) = Absent("");
454 futex_wake(word: UserPtr, mask: u64, count: i32, flags: u32) = Full("");
455 futex_wait(word: UserPtr, value: u64, mask: u64, flags: u32, timeout: UserPtr, clock: i32) = Full("");
456 futex_requeue(waiters: UserPtr, flags: u32, wake: i32, requeue: i32) = Full("");
457 statmount(request: UserPtr, buffer: UserPtr, size: usize, flags: u32) = Full("");
458 listmount(request: UserPtr, ids: UserPtr, count: usize, flags: u32) = Full("");
459 lsm_get_self_attr(attribute: u32, context: UserPtr, size: UserPtr, flags: u32) = Absent("");
460 lsm_set_self_attr(attribute: u32, context: UserPtr, size: u32, flags: u32) = Absent("");
461 lsm_list_modules(ids: UserPtr, size: UserPtr, flags: u32) = Absent("");
462 mseal(address: usize, length: usize, flags: u64) = Absent("");
463 setxattrat(directory: Fd, path: UserPtr, at: u32, name: UserPtr, arguments: UserPtr, size: usize) = Full("");
464 getxattrat(directory: Fd, path: UserPtr, at: u32, name: UserPtr, arguments: UserPtr, size: usize) = Full("");
465 listxattrat(directory: Fd, path: UserPtr, at: u32, names: UserPtr, size: usize) = Full("");
466 removexattrat(directory: Fd, path: UserPtr, at: u32, name: UserPtr) = Full("");
467 open_tree_attr(directory: Fd, path: UserPtr, flags: u32, attributes: UserPtr, size: usize) = Partial("as mount_setattr");
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_and_are_named_once() {
        for pair in SYSCALLS.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} after {}", pair[1].name, pair[0].name);
        }
        let mut names: Vec<_> = SYSCALLS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SYSCALLS.len());
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!(SYSCALLS.len(), 335 + 44);
        assert_eq!(name(0), Some("read"));
        assert_eq!(name(334), Some("rseq"));
        assert_eq!(name(335), None);
        assert_eq!(name(462), Some("mseal"));
        assert_eq!(name(466), Some("removexattrat"));
        assert_eq!(name(467), Some("open_tree_attr"));
        assert_eq!(name(468), None);
    }

    #[test]
    fn calls_have_at_most_six_arguments() {
        assert!(SYSCALLS.iter().all(|row| row.arguments.len() <= 6));
    }

    #[test]
    fn partial_rows_say_what_is_missing() {
        for row in SYSCALLS.iter().filter(|row| row.level == Level::Partial) {
            assert!(!row.note.is_empty(), "{}", row.name);
        }
    }
}
