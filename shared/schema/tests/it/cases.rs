//! The configuration of property tests. Tests of other crates include this file.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same inputs in every run, so that a failure is reproducible; `PROPTEST_RNG_SEED` selects others.
pub fn cases(cases: u32) -> ProptestConfig {
    let own = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let rng_seed = match own.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        given => given,
    };
    ProptestConfig { cases, rng_seed, ..own }
}
