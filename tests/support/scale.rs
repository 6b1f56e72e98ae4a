//! How often a test repeats what it repeats.

/// `PROCPOOL_ROUNDS`, or else what fits into seconds.
pub fn rounds(usual: u64) -> u64 {
    std::env::var("PROCPOOL_ROUNDS").map_or(usual, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Xorshift: numbers that look like chance and are the same every time.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
