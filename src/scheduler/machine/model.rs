//! Random histories, many of them: a seed plays one, and is printed when it fails.

use super::world::{Budget, Move, World};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const SEEDS: u64 = 3_000;
const STEPS: usize = 250;

fn play(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // What is many calls has no terms.
    let calls = random.below(4) == 0;
    let budget = Budget {
        submits: 12,
        crashes: random.below(6) as u8,
        failed_launches: random.below(5) as u8,
        cancels: random.below(6) as u8,
        closes: random.below(3) as u8,
        ticks: u16::MAX,
        lies: random.below(2) as u8,
        retries: if calls { 0 } else { random.below(3) as u8 },
        resizes: random.below(4) as u8,
        keeps: [None, Some(random.below(3) as u8)][random.below(2)],
        hurries: !calls && random.below(3) == 0,
        calls,
    };
    let quota = [None, None, Some(1), Some(3)][random.below(4)];
    let endless = [None, Some(random.below(12) as u8)][random.below(2)].filter(|_| !calls);
    let mut world = World::new(1 + random.below(3), quota, endless, budget);
    for _ in 0..STEPS {
        let moves = world.moves(false);
        if moves.is_empty() {
            break;
        }
        // Time is rarer than everything else, or nothing else would happen in it.
        let mut chosen = moves[random.below(moves.len())];
        if matches!(chosen, Move::Tick) && random.below(4) > 0 {
            chosen = moves[random.below(moves.len())];
        }
        world.play(chosen);
    }
    // From here on everybody does his duty, and everything must come to its end.
    for _ in 0..20_000 {
        let moves = world.moves(true);
        // Time only passes when nothing else is left to do: a world without surprises.
        let chosen = moves.iter().find(|next| !matches!(next, Move::Tick)).or(moves.first());
        match chosen {
            Some(&chosen) => world.play(chosen),
            None => return world.assert_settled(),
        }
    }
    panic!("it goes on for ever");
}

#[test]
fn random_histories_keep_every_promise() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = first.map_or(0..SEEDS, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| play(seed)) {
            println!("SEED={seed} plays this history again");
            std::panic::resume_unwind(panic);
        }
    }
}
