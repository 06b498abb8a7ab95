//! The host's end of a machine's virtio socket device: a process of vhost-user, within this one.
//!
//! - [`vhost_user`]: the protocol with QEMU, and the rings in the machine's memory.
//! - [`peer`]: who is there, by port.

mod peer;
mod vhost_user;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use crate::schedule::Failure;

/// The machine's CID.
pub(crate) const CID: u32 = 42;

/// Serves one machine whose emulator connects to the socket at `path`.
///
/// # Errors
/// When there can be no such socket.
pub(crate) fn serve(path: &Path) -> Result<(), Failure> {
    let listener = UnixListener::bind(path).map_err(|error| format!("{}: {error}", path.display()))?;
    thread::spawn(move || {
        if let Ok((socket, _)) = listener.accept()
            && let Err(error) = vhost_user::serve(socket, CID)
        {
            eprintln!("vsock: {error}");
        }
    });
    Ok(())
}
