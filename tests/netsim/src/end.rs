//! [`TcpEnd`]: one end of a connection, whatever its protocol is made of.

/// What reading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing will come any more: the other end has finished.
    End,
}

/// One end of a connection, which exchanges IP packets with the other.
pub trait TcpEnd {
    /// What to call it in reports.
    fn name(&self) -> &str;

    /// Takes a packet.
    fn receive(&mut self, now_ns: u64, packet: Vec<u8>);

    /// Sends what is due.
    fn poll(&mut self, now_ns: u64, send: &mut dyn FnMut(Vec<u8>));

    /// When [`TcpEnd::poll`] is wanted although nothing comes; [`crate::NEVER`] for never.
    fn poll_at(&mut self, now_ns: u64) -> u64;

    /// The connection stands, as far as this end knows: it may write, and finish.
    fn is_open(&self) -> bool;

    /// Hands bytes over to be sent, and answers how many were taken.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Nothing more will be written.
    fn finish_writing(&mut self);

    /// Takes bytes that were received.
    fn read(&mut self, to: &mut [u8]) -> Received;

    /// Both directions have ended well: all that was sent is acknowledged, and the other end has finished.
    fn is_over(&self) -> bool;

    /// Why the connection broke, if it did.
    fn failure(&self) -> Option<String>;
}
