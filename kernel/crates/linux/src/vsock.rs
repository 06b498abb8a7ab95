//! `/dev/vsock`: the CID of this machine.

use alloc::sync::Arc;

use abi::Errno;
use abi::socket::IOCTL_VM_SOCKETS_GET_LOCAL_CID;
use abi::stat::S_IFCHR;
use file::{Attributes, File, OpenFile};
use mm::user::write_user_struct;
use net::Stack;
use vfs::FileKind;

struct VsockFile {
    network: Arc<Stack>,
}

impl File for VsockFile {
    fn attributes(&self) -> Result<Attributes, Errno> {
        Ok(Attributes::anonymous(0, S_IFCHR | 0o600))
    }

    fn ioctl(&self, _open: &OpenFile, command: u32, argument: usize) -> Result<usize, Errno> {
        if command != IOCTL_VM_SOCKETS_GET_LOCAL_CID {
            return Err(Errno::ENOTTY);
        }
        write_user_struct(argument, &self.network.vsock().cid())?;
        Ok(0)
    }
}

/// Lets programs open the device.
pub fn register(network: &Arc<Stack>) -> Result<(), Errno> {
    let file = Arc::new(VsockFile { network: Arc::clone(network) });
    let opener = Arc::new(move |_: &_, _| Ok(file.clone() as Arc<dyn File>));
    vfs::device::register(FileKind::CharacterDevice, vfs::fs::dev::VSOCK, opener)
}
