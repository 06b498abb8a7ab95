//! What the servers of 9P have in common: requests from the pieces of an exchange, and replies into them.

use ninep::Exchange;

/// The bytes of a request.
pub(crate) fn request_of(exchange: &Exchange) -> Vec<u8> {
    let mut request = Vec::new();
    for piece in exchange.outgoing() {
        let mut part = vec![0; piece.len()];
        piece.frame().read(piece.offset(), &mut part);
        request.extend(part);
    }
    request
}

/// Writes the reply where the client wants it; answers how much had room.
pub(crate) fn put(exchange: &Exchange, reply: &[u8]) -> u32 {
    let mut rest = reply;
    for piece in exchange.incoming() {
        let (part, behind) = rest.split_at(piece.len().min(rest.len()));
        piece.frame().write(piece.offset(), part);
        rest = behind;
    }
    u32::try_from(reply.len() - rest.len()).unwrap_or(0)
}
