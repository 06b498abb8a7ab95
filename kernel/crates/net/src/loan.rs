//! [`Loan`]: received bytes that a program reads where they lie.
//!
//! 1. A buffer that is lent is in no queue. The kernel reads nothing in it any more; what it holds beside the bytes is
//!    never looked at again. So whatever the program does with the memory, nothing but its own bytes can come to harm.
//! 2. It counts against the buffer limit of the socket as if it had not been read, in an [`Account`] of the queue that
//!    it came from, until it is given back. A program that keeps its loans closes the window on its peer, and nothing
//!    else.
//! 3. A loan outlives its socket. The queue's account is told of its end in any case, the socket only if it is still
//!    there.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::frame::Payload;
use crate::socket::Address;

/// How much memory of one queue is lent.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<AtomicUsize>);

impl Account {
    /// Bytes that are lent.
    pub(crate) fn lent(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Notes that `payload` is lent.
    pub(crate) fn add(&self, payload: &Payload) {
        self.0.fetch_add(payload.footprint(), Relaxed);
    }

    /// Notes that it was given back.
    pub(crate) fn subtract(&self, payload: &Payload) {
        self.0.fetch_sub(payload.footprint(), Relaxed);
    }

    /// An account on which `amount` counts that is no loan.
    pub(crate) fn word(&self) -> &AtomicUsize {
        &self.0
    }
}

/// Who lends.
pub(crate) trait Lender: Send + Sync {
    /// Takes a buffer back, and takes it off its account.
    fn take_back(&self, payload: Payload, account: &Account);
}

/// One buffer that is lent. Dropped, it is given back.
pub struct Loan {
    /// None once it was given back.
    payload: Option<Payload>,
    account: Account,
    lender: Weak<dyn Lender>,
}

impl Loan {
    /// Lends a payload that was added to `account`.
    pub(crate) fn new(payload: Payload, account: &Account, lender: Weak<dyn Lender>) -> Self {
        Self { payload: Some(payload), account: account.clone(), lender }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.payload.as_ref().map_or(&[], Payload::bytes)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(payload) = self.payload.take() else { return };
        match self.lender.upgrade() {
            Some(lender) => lender.take_back(payload, &self.account),
            None => self.account.subtract(&payload),
        }
    }
}

/// What one receive lends. No loans: the end of a stream, or an empty datagram.
#[derive(Default)]
pub struct Lent {
    /// The pieces in order.
    pub loans: Vec<Loan>,
    /// The sender, of sockets without connections.
    pub address: Option<Address>,
}

impl Lent {
    /// Lends pieces that were added to `account`.
    pub(crate) fn new(pieces: Vec<Payload>, account: &Account, lender: &Weak<dyn Lender>) -> Self {
        let loans = pieces.into_iter().map(|piece| Loan::new(piece, account, Weak::clone(lender))).collect();
        Self { loans, address: None }
    }
}
