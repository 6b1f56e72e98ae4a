//! Bytes copied twice, there and back, to fresh memory each time as a receiver has it.

use crate::contest::Contestant;

pub(super) struct Memcpy;

impl Contestant for Memcpy {
    fn start(_workers: usize) -> Memcpy {
        Memcpy
    }

    fn one(&mut self, _n: u64) -> Option<u64> {
        None
    }

    fn many(&mut self, _count: u64) -> Option<u64> {
        None
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let there = std::hint::black_box(&bytes).to_vec();
        Some(std::hint::black_box(&there).to_vec())
    }
}
