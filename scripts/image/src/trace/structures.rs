//! What lies in memory behind arguments that are addresses, where it is of a kind worth showing.

use super::{Call, flags};

/// Shows what an argument points at. `None`: its address has to do.
pub(super) fn show(call: &Call, call_name: &str, index: usize, name: &str) -> Option<String> {
    let before = call.memory_before(index);
    let after = call.memory_after(index).filter(|_| call.has_succeeded());
    match (call_name, name) {
        ("pipe" | "pipe2" | "socketpair", "descriptors") => {
            let bytes = after?;
            Some(format!("[{}, {}]", int(bytes, 0)?, int(bytes, 4)?))
        }
        ("nanosleep" | "clock_nanosleep", "request") | ("clock_settime", "time") => timespec(before?, 0),
        ("clock_gettime" | "clock_getres", _) => timespec(after?, 0),
        ("ppoll" | "pselect6" | "epoll_pwait2" | "rt_sigtimedwait", "timeout") => timespec(before?, 0),
        ("gettimeofday", "time") => {
            let bytes = after?;
            Some(format!("{{tv_sec={}, tv_usec={}}}", long(bytes, 0)?, long(bytes, 8)?))
        }
        ("stat" | "lstat" | "fstat" | "newfstatat", "status") => stat(after?),
        ("connect" | "bind" | "sendto", "address") => socket_address(before?, call),
        ("accept" | "accept4" | "getsockname" | "getpeername" | "recvfrom", "address") => socket_address(after?, call),
        ("accept" | "accept4" | "getsockname" | "getpeername" | "getsockopt", "length") => {
            let old = int(before?, 0)?;
            let new = int(after?, 0)?;
            Some(if old == new { format!("[{old}]") } else { format!("[{old} => {new}]") })
        }
        ("setsockopt", "value") if call.registers[4] == 4 => Some(format!("[{}]", int(before?, 0)?)),
        ("getsockopt", "value") => Some(format!("[{}]", int(after?, 0)?)),
        ("rt_sigprocmask" | "rt_sigsuspend" | "rt_sigtimedwait" | "signalfd4", "set" | "mask") => {
            Some(flags::signal_set(unsigned_long(before?, 0)?))
        }
        ("rt_sigprocmask", "old_set") => Some(flags::signal_set(unsigned_long(after?, 0)?)),
        ("rt_sigaction", "action") => action(before?),
        ("rt_sigaction", "old_action") => action(after?),
        ("epoll_ctl", "event") => epoll_event(before?),
        ("epoll_wait" | "epoll_pwait", "events") => {
            let count = usize::try_from(call.answer).ok()?;
            let events: Option<Vec<String>> =
                after?.chunks_exact(EPOLL_EVENT_SIZE).take(count).map(epoll_event).collect();
            let events = events.filter(|events| events.len() == count)?;
            Some(format!("[{}]", events.join(", ")))
        }
        ("poll" | "ppoll", "descriptors") => {
            let count = usize::try_from(call.registers[1]).ok()?;
            let files: Option<Vec<String>> = before?.chunks_exact(8).take(count).map(poll_descriptor).collect();
            let files = files.filter(|files| files.len() == count)?;
            Some(format!("[{}]", files.join(", ")))
        }
        ("uname", _) => {
            let field = |at: usize| {
                let text = after?.get(at..)?.split(|byte| *byte == 0).next()?;
                Some(String::from_utf8_lossy(text).into_owned())
            };
            Some(format!("{{sysname=\"{}\", nodename=\"{}\", ...}}", field(0)?, field(65)?))
        }
        ("prlimit64", "new_limit") | ("setrlimit", "limit") => limit(before?),
        ("prlimit64", "old_limit") | ("getrlimit", "limit") => limit(after?),
        _ => None,
    }
}

/// The size of a packed `struct epoll_event`.
const EPOLL_EVENT_SIZE: usize = 12;
/// `RLIM_INFINITY`.
const INFINITE: u64 = u64::MAX;

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn unsigned(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn unsigned_long(bytes: &[u8], at: usize) -> Option<u64> {
    long(bytes, at).map(i64::cast_unsigned)
}

fn timespec(bytes: &[u8], at: usize) -> Option<String> {
    Some(format!("{{tv_sec={}, tv_nsec={}}}", long(bytes, at)?, long(bytes, at + 8)?))
}

fn limit(bytes: &[u8]) -> Option<String> {
    let one = |value: u64| if value == INFINITE { "RLIM64_INFINITY".to_owned() } else { value.to_string() };
    Some(format!("{{rlim_cur={}, rlim_max={}}}", one(unsigned_long(bytes, 0)?), one(unsigned_long(bytes, 8)?)))
}

fn stat(bytes: &[u8]) -> Option<String> {
    let mode = unsigned(bytes, 24)?;
    let kind = match mode & 0o170_000 {
        0o140_000 => "S_IFSOCK",
        0o120_000 => "S_IFLNK",
        0o100_000 => "S_IFREG",
        0o060_000 => "S_IFBLK",
        0o040_000 => "S_IFDIR",
        0o020_000 => "S_IFCHR",
        0o010_000 => "S_IFIFO",
        _ => "0",
    };
    let device = unsigned_long(bytes, 40)?;
    let rest = if matches!(kind, "S_IFBLK" | "S_IFCHR") {
        format!("st_rdev=makedev({:#x}, {:#x})", device >> 8 & 0xfff, device & 0xff)
    } else {
        format!("st_size={}", long(bytes, 48)?)
    };
    Some(format!("{{st_mode={kind}|{:#05o}, {rest}, ...}}", mode & 0o7777).replace("|0o", "|0"))
}

fn socket_address(bytes: &[u8], call: &Call) -> Option<String> {
    let port = || Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
    Some(match short(bytes, 0)? {
        1 => {
            // An address may end before its zero.
            let len = usize::try_from(call.registers[2]).ok().filter(|len| (2..=110).contains(len)).unwrap_or(110);
            let path = bytes.get(2..len.min(bytes.len()))?;
            let path = match path.split_first() {
                Some((0, name)) => format!("@\"{}\"", String::from_utf8_lossy(name)),
                _ => format!("\"{}\"", String::from_utf8_lossy(path.split(|byte| *byte == 0).next()?)),
            };
            format!("{{sa_family=AF_UNIX, sun_path={path}}}")
        }
        2 => {
            let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            let address = std::net::Ipv4Addr::from(address);
            format!("{{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr(\"{address}\")}}", port()?)
        }
        10 => {
            let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let address = std::net::Ipv6Addr::from(address);
            format!("{{sa_family=AF_INET6, sin6_port=htons({}), inet_pton(AF_INET6, \"{address}\"), ...}}", port()?)
        }
        family => format!("{{sa_family={family:#x}, ...}}"),
    })
}

fn action(bytes: &[u8]) -> Option<String> {
    let handler = match unsigned_long(bytes, 0)? {
        0 => "SIG_DFL".to_owned(),
        1 => "SIG_IGN".to_owned(),
        address => format!("{address:#x}"),
    };
    let (bits, restorer, mask) = (unsigned_long(bytes, 8)?, unsigned_long(bytes, 16)?, unsigned_long(bytes, 24)?);
    let restorer = if bits & flags::SA_RESTORER != 0 { format!(", sa_restorer={restorer:#x}") } else { String::new() };
    let (mask, bits) = (flags::signal_set(mask), flags::signal_action(bits));
    Some(format!("{{sa_handler={handler}, sa_mask={mask}, sa_flags={bits}{restorer}}}"))
}

fn epoll_event(bytes: &[u8]) -> Option<String> {
    let data = unsigned_long(bytes, 4)?;
    let data = match u32::try_from(data) {
        Ok(low) => format!("{{u32={low}, u64={low}}}"),
        Err(_) => format!("{{u32={}, u64={data:#x}}}", unsigned(bytes, 4)?),
    };
    Some(format!("{{events={}, data={data}}}", flags::epoll_events(u64::from(unsigned(bytes, 0)?))))
}

fn poll_descriptor(bytes: &[u8]) -> Option<String> {
    Some(format!("{{fd={}, events={}}}", int(bytes, 0)?, flags::poll_events(u64::from(short(bytes, 4)?))))
}
