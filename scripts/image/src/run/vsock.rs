//! `VSOCK=`: the machine's sockets to the host (`AF_VSOCK`).
//!
//! A number is the machine's CID, with the host's kernel at the other end (`/dev/vhost-vsock`). `socket:PATH` is a
//! process of the host that speaks the vhost-user protocol there, such as vhost-device-vsock, and says itself which CID
//! the machine has; the machine's memory is shared with it.

use std::fs::OpenOptions;

use super::settings::Machine;
use crate::{Failure, Result};

/// The host's kernel at the other end.
const HOST_DEVICE: &str = "/dev/vhost-vsock";
/// The first CID that is no well-known one.
const CID_FIRST: u32 = 3;

/// What is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vsock {
    /// The host's kernel, which knows the machine by this CID.
    Kernel(u32),
    /// A process, by its socket.
    Process(String),
}

/// Reads the value of `VSOCK`.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(value: &str) -> Result<Option<Vsock>> {
    if value == "none" {
        return Ok(None);
    }
    if let Some(path) = value.strip_prefix("socket:").filter(|path| !path.is_empty()) {
        return Ok(Some(Vsock::Process(path.to_owned())));
    }
    let cid = value.parse().ok().filter(|cid| (CID_FIRST..u32::MAX).contains(cid));
    let bad = || Failure::new(format!("VSOCK={value}: it should be none, a CID from {CID_FIRST} on, or socket:PATH"));
    cid.map(|cid| Some(Vsock::Kernel(cid))).ok_or_else(bad)
}

/// Checks that the other end can be had.
///
/// # Errors
/// Says why not.
pub fn check(vsock: Option<&Vsock>) -> Result<()> {
    if let Some(Vsock::Kernel(cid)) = vsock {
        let opened = OpenOptions::new().read(true).write(true).open(HOST_DEVICE);
        opened.map_err(|error| Failure::new(format!("VSOCK={cid}: {HOST_DEVICE}: {error}")))?;
    }
    Ok(())
}

/// QEMU's arguments for it, for a machine with so many KiB of memory.
pub fn arguments(vsock: Option<&Vsock>, machine: Machine, memory_kib: u64) -> Vec<String> {
    let bus = match machine {
        Machine::Microvm => "device",
        Machine::Q35 | Machine::Pc => "pci",
    };
    match vsock {
        None => Vec::new(),
        Some(Vsock::Kernel(cid)) => vec!["-device".to_owned(), format!("vhost-vsock-{bus},guest-cid={cid}")],
        // A comma within a value is written twice.
        Some(Vsock::Process(path)) => vec![
            "-object".to_owned(),
            format!("memory-backend-memfd,id=memory,size={memory_kib}K,share=on"),
            "-machine".to_owned(),
            "memory-backend=memory".to_owned(),
            "-chardev".to_owned(),
            format!("socket,id=vsock,path={}", path.replace(',', ",,")),
            "-device".to_owned(),
            format!("vhost-user-vsock-{bus},chardev=vsock"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(parse("none").unwrap(), None);
        assert_eq!(parse("3").unwrap(), Some(Vsock::Kernel(3)));
        assert_eq!(parse("socket:/a,b").unwrap(), Some(Vsock::Process("/a,b".into())));
        for bad in ["", "2", "4294967295", "socket:", "host", "-1"] {
            assert!(parse(bad).unwrap_err().to_string().starts_with(&format!("VSOCK={bad}: it should be ")), "{bad}");
        }
    }

    #[test]
    fn each_machine_gets_a_device_of_its_bus() {
        assert!(arguments(None, Machine::Q35, 1).is_empty());
        let kernel = arguments(Some(&Vsock::Kernel(7)), Machine::Microvm, 1);
        assert_eq!(kernel, ["-device", "vhost-vsock-device,guest-cid=7"]);
        let process = arguments(Some(&Vsock::Process("/a,b".into())), Machine::Q35, 131_072);
        assert!(process.contains(&"memory-backend-memfd,id=memory,size=131072K,share=on".into()));
        assert!(process.contains(&"socket,id=vsock,path=/a,,b".into()));
        assert_eq!(process.last().map(String::as_str), Some("vhost-user-vsock-pci,chardev=vsock"));
    }
}
