//! The host as the machine sees it: services here for programs there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::{Peer, TAP_HOST};
use crate::schedule::Failure;

/// The host in QEMU's own network.
const USER_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// The host's address for the machine.
pub(super) fn address(peer: &Peer) -> Ipv4Addr {
    if peer.is_direct { TAP_HOST } else { USER_HOST }
}

/// A listener here, and where the machine finds it.
pub(super) fn listen(peer: &Peer) -> Result<(TcpListener, SocketAddr), Failure> {
    let own = if peer.is_direct { TAP_HOST } else { Ipv4Addr::LOCALHOST };
    let listener = TcpListener::bind((own, 0)).map_err(|error| format!("{own}: {error}"))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    Ok((listener, SocketAddr::from((address(peer), port))))
}
