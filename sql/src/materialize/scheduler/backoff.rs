//! How long a run that failed waits before it is tried again.

use chrono::TimeDelta;

use super::super::hash;

/// Longest pause, whatever the number of attempts.
const MAX_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// The pause after a number of failed attempts, from 1: it doubles, less a share of up to a half that the
/// run's id decides. Whoever asks again gets the same answer, and runs that failed together are not tried
/// again together.
pub fn pause(first: TimeDelta, failed: u32, run_id: &str) -> TimeDelta {
    let doubled = 1_i32.checked_shl(failed.saturating_sub(1).min(30)).unwrap_or(i32::MAX);
    let whole = first.checked_mul(doubled.max(1)).unwrap_or(MAX_PAUSE).min(MAX_PAUSE);
    let attempt = failed.to_string();
    let thousandths = i64::try_from(hash::of([run_id, &attempt]) % 1_000).unwrap_or_default();
    let less = whole.num_milliseconds() / 2 * thousandths / 1_000;
    whole - TimeDelta::milliseconds(less)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_by_run() {
        let first = TimeDelta::seconds(5);
        for failed in 1..=40 {
            let pause = pause(first, failed, "a");
            let whole = TimeDelta::seconds(5 << (failed - 1).min(20)).min(MAX_PAUSE);
            assert!(pause <= whole && pause >= whole / 2, "{failed}: {pause}");
        }
        assert_eq!(pause(first, 3, "a"), pause(first, 3, "a"));
        let different: std::collections::BTreeSet<_> =
            (0..50).map(|run| pause(first, 4, &run.to_string())).collect();
        assert!(different.len() > 40);
    }
}
