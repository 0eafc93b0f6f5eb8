//! How often a call is repeated, and after which delays.

use std::time::Duration;

use crate::rng::Rng;

/// Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
///
/// The caller owns the loop: [`RetryPolicy::delays`] returns the delay before each repetition and ends when the
/// attempts are used up. `docs/decisions/retries.md` gives the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// Upper bound of the first delay; it doubles with each attempt.
    pub initial_delay: Duration,
    /// Upper bound of every delay.
    pub max_delay: Duration,
}

impl RetryPolicy {
    /// The delays between the attempts, `max_attempts - 1` of them. Each is drawn from `rng` when it is asked for.
    pub fn delays<'a>(&self, rng: &'a Rng) -> impl Iterator<Item = Duration> + 'a {
        let Self { max_attempts, initial_delay, max_delay } = *self;
        (0..max_attempts.saturating_sub(1)).map(move |n| {
            let bound = initial_delay.saturating_mul(2_u32.saturating_pow(n)).min(max_delay);
            rng.up_to(bound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_below_doubling_bounds_up_to_the_maximum() {
        let policy = RetryPolicy {
            max_attempts: 6,
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(500),
        };
        for seed in 0..100 {
            let rng = Rng::seeded(seed);
            let delays: Vec<Duration> = policy.delays(&rng).collect();
            assert_eq!(delays.len(), 5);
            for (delay, bound) in delays.iter().zip([100, 200, 400, 500, 500]) {
                assert!(*delay <= Duration::from_millis(bound), "seed {seed}: {delay:?} above {bound} ms");
            }
        }
    }

    #[test]
    fn one_attempt_has_no_delays_and_many_do_not_overflow() {
        let rng = Rng::seeded(1);
        let policy = |max_attempts| RetryPolicy {
            max_attempts,
            initial_delay: Duration::MAX,
            max_delay: Duration::from_secs(1),
        };
        assert_eq!((policy(0).delays(&rng).count(), policy(1).delays(&rng).count()), (0, 0));
        assert!(policy(u32::MAX).delays(&rng).take(100).all(|delay| delay <= Duration::from_secs(1)));
    }
}
