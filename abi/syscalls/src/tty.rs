//! Terminals: `ioctl` requests, `termios` and the flags in it. The few `ioctl`s any file answers are here too.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

/// Entries of `c_cc` in the kernel's `termios`.
pub const NCCS: usize = 19;

abi_struct! {
    /// The kernel's `struct termios`, which `TCGETS` and `TCSETS` move.
    pub struct Termios: 36 {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; NCCS],
    }

    /// `struct termios2`.
    pub struct Termios2: 44 {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; NCCS],
        pub c_ispeed: u32,
        pub c_ospeed: u32,
    }

    /// `struct winsize`.
    pub struct Winsize: 8 {
        pub ws_row: u16,
        pub ws_col: u16,
        pub ws_xpixel: u16,
        pub ws_ypixel: u16,
    }
}

/// The requests of `ioctl`.
pub mod ioctl {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCGETA: u32 = 0x5405;
    pub const TCSETA: u32 = 0x5406;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCSTI: u32 = 0x5412;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCINQ: u32 = FIONREAD;
    pub const FIONBIO: u32 = 0x5421;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
    pub const TIOCGPTN: u32 = 0x8004_5430;
    pub const TIOCSPTLCK: u32 = 0x4004_5431;
    pub const TIOCGPTPEER: u32 = 0x5441;
    pub const FIONCLEX: u32 = 0x5450;
    pub const FIOCLEX: u32 = 0x5451;
    pub const FIOASYNC: u32 = 0x5452;
    pub const FIOQSIZE: u32 = 0x5460;
    pub const FIGETBSZ: u32 = 2;
    /// The flags of a file that `lsattr` shows.
    pub const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
    /// Sets them, as `chattr` does.
    pub const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
    /// Tells where the contents of a file are.
    pub const FS_IOC_FIEMAP: u32 = 0xc020_660b;
    /// Has the table of partitions of a disk read again.
    pub const BLKRRPART: u32 = 0x125f;
    /// Tells the disk what of it holds nothing.
    pub const FITRIM: u32 = 0xc018_5879;
    /// Opens the namespace of users that owns a namespace.
    pub const NS_GET_USERNS: u32 = 0xb701;
    /// Opens the parent of a namespace of users or process numbers.
    pub const NS_GET_PARENT: u32 = 0xb702;
    /// The kind of a namespace, as a flag of `clone`.
    pub const NS_GET_NSTYPE: u32 = 0xb703;
    /// Who made a namespace of users.
    pub const NS_GET_OWNER_UID: u32 = 0xb704;
    /// The number of a namespace of mounts.
    pub const NS_GET_MNTNS_ID: u32 = 0x8008_b705;
    /// How many mounts a namespace of mounts has. This and the next two tell, in bits 16 to 29, how long a structure the
    /// caller knows.
    pub const NS_MNT_GET_INFO: u32 = 0x8000_b70a;
    /// Opens the namespace of mounts that was made after one.
    pub const NS_MNT_GET_NEXT: u32 = 0x8000_b70b;
    /// Opens the namespace of mounts that was made before one.
    pub const NS_MNT_GET_PREV: u32 = 0x8000_b70c;
    /// The number of a namespace.
    pub const NS_GET_ID: u32 = 0x8008_b70d;
    pub const RNDGETENTCNT: u32 = 0x8004_5200;
    pub const RNDADDTOENTCNT: u32 = 0x4004_5201;
    pub const RNDADDENTROPY: u32 = 0x4008_5203;
}

pub const VINTR: usize = 0;
pub const VQUIT: usize = 1;
pub const VERASE: usize = 2;
pub const VKILL: usize = 3;
pub const VEOF: usize = 4;
pub const VTIME: usize = 5;
pub const VMIN: usize = 6;
pub const VSWTC: usize = 7;
pub const VSTART: usize = 8;
pub const VSTOP: usize = 9;
pub const VSUSP: usize = 10;
pub const VEOL: usize = 11;
pub const VREPRINT: usize = 12;
pub const VDISCARD: usize = 13;
pub const VWERASE: usize = 14;
pub const VLNEXT: usize = 15;
pub const VEOL2: usize = 16;

pub const IGNBRK: u32 = 0o1;
pub const BRKINT: u32 = 0o2;
pub const IGNPAR: u32 = 0o4;
pub const PARMRK: u32 = 0o10;
pub const INPCK: u32 = 0o20;
pub const ISTRIP: u32 = 0o40;
pub const INLCR: u32 = 0o100;
pub const IGNCR: u32 = 0o200;
pub const ICRNL: u32 = 0o400;
pub const IUCLC: u32 = 0o1000;
pub const IXON: u32 = 0o2000;
pub const IXANY: u32 = 0o4000;
pub const IXOFF: u32 = 0o10000;
pub const IMAXBEL: u32 = 0o20000;
pub const IUTF8: u32 = 0o40000;

pub const OPOST: u32 = 0o1;
pub const OLCUC: u32 = 0o2;
pub const ONLCR: u32 = 0o4;
pub const OCRNL: u32 = 0o10;
pub const ONOCR: u32 = 0o20;
pub const ONLRET: u32 = 0o40;
pub const OFILL: u32 = 0o100;
pub const OFDEL: u32 = 0o200;
pub const TABDLY: u32 = 0o14000;
pub const XTABS: u32 = 0o14000;

pub const B0: u32 = 0;
pub const B9600: u32 = 0o15;
pub const B38400: u32 = 0o17;
pub const B115200: u32 = 0o10002;
pub const CBAUD: u32 = 0o10017;
pub const CSIZE: u32 = 0o60;
pub const CS8: u32 = 0o60;
pub const CSTOPB: u32 = 0o100;
pub const CREAD: u32 = 0o200;
pub const PARENB: u32 = 0o400;
pub const HUPCL: u32 = 0o2000;
pub const CLOCAL: u32 = 0o4000;

pub const ISIG: u32 = 0o1;
pub const ICANON: u32 = 0o2;
pub const XCASE: u32 = 0o4;
pub const ECHO: u32 = 0o10;
pub const ECHOE: u32 = 0o20;
pub const ECHOK: u32 = 0o40;
pub const ECHONL: u32 = 0o100;
pub const NOFLSH: u32 = 0o200;
pub const TOSTOP: u32 = 0o400;
pub const ECHOCTL: u32 = 0o1000;
pub const ECHOPRT: u32 = 0o2000;
pub const ECHOKE: u32 = 0o4000;
pub const FLUSHO: u32 = 0o10000;
pub const PENDIN: u32 = 0o40000;
pub const IEXTEN: u32 = 0o100_000;
pub const EXTPROC: u32 = 0o200_000;

pub const TCIFLUSH: u32 = 0;
pub const TCOFLUSH: u32 = 1;
pub const TCIOFLUSH: u32 = 2;
pub const TCOOFF: u32 = 0;
pub const TCOON: u32 = 1;
pub const TCIOFF: u32 = 2;
pub const TCION: u32 = 3;
