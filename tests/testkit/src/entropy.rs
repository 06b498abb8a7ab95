//! The entropy of a machine: the sequence of a seed, 0 unless set.

use crate::machine::{self, lock};
use crate::random::Random;

/// Starts the sequence of another seed.
pub fn seed(seed: u64) {
    *lock(&machine::current().entropy) = Random::new(seed);
}

pub(crate) fn fill(destination: &mut [u8]) {
    lock(&machine::current().entropy).fill(destination);
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_seed_gives_the_same_bytes_again() {
        let draw = || {
            let mut bytes = [0; 20];
            sync::machine::fill_entropy(&mut bytes);
            bytes
        };
        super::seed(3);
        let first = draw();
        assert_ne!(first, draw());
        super::seed(3);
        assert_eq!(first, draw());
    }
}
