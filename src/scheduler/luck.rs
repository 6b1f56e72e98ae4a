//! Whether it is worth it to wait for a moment, by how that went of late.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Each wait that was in vain doubles the number of those that are left out. Several threads may blur that, and nothing
/// depends on it.
#[derive(Debug, Default)]
pub(super) struct Luck {
    in_vain: AtomicU32,
    left_out: AtomicU32,
}

const IN_VAIN_MAX: u32 = 12;

impl Luck {
    pub(super) fn is_worth_a_try(&self) -> bool {
        let in_vain = self.in_vain.load(Relaxed);
        in_vain == 0 || self.left_out.fetch_add(1, Relaxed) >= 1 << in_vain
    }

    pub(super) fn note(&self, lucky: bool) {
        let in_vain = if lucky { 0 } else { IN_VAIN_MAX.min(self.in_vain.load(Relaxed) + 1) };
        self.in_vain.store(in_vain, Relaxed);
        self.left_out.store(0, Relaxed);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_was_in_vain_is_tried_ever_less_often_until_it_is_not() {
        let luck = Luck::default();
        let skipped = || (0..).find(|_| luck.is_worth_a_try()).unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(skipped());
            luck.note(false);
        }
        assert_eq!(seen, [0, 2, 4, 8]);
        (0..20).for_each(|_| luck.note(false));
        assert_eq!(skipped(), 1 << IN_VAIN_MAX);
        luck.note(true);
        assert_eq!((skipped(), skipped()), (0, 0));
    }
}
