//! Asks again after a commit what users ask most, so that they find the answer: one question at a time, in a
//! share of the time, and only while clients leave cores free.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auric_sql::Abandoned;
use auric_sql::result_cache::Question;
use chrono::Utc;

use crate::config::CacheConfig;
use crate::pgwire::{self, Server};
use crate::runtime::scoped;

/// Between two looks for commits.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks whether clients need the cores.
const BREATH: Duration = Duration::from_millis(50);
/// Time that was not used counts so long.
const SAVED: Duration = Duration::from_secs(60);

/// What `pg_stat_activity` shows as the application.
const APPLICATION: &str = "auric result cache";

/// Time that may be taken.
#[derive(Debug)]
struct Budget {
    share: f64,
    left: f64,
    counted: Instant,
}

impl Budget {
    fn new(percent: usize, now: Instant) -> Self {
        let share = f64::from(u32::try_from(percent.min(100)).unwrap_or(100)) / 100.0;
        Self { share, left: share * SAVED.as_secs_f64(), counted: now }
    }

    fn most(&self) -> f64 {
        self.share * SAVED.as_secs_f64()
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * self.share;
        self.left = (self.left + earned).min(self.most());
        self.counted = now;
    }

    fn spend(&mut self, time: Duration) {
        self.left -= time.as_secs_f64();
    }
}

/// Until the server shuts down.
pub async fn follow(server: Arc<Server>, config: CacheConfig) {
    if config.refresh_after == 0 || config.refresh_share == 0 || !server.engine.results().is_enabled() {
        return;
    }
    let mut budget = Budget::new(config.refresh_share, Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = server.draining.cancelled() => return,
        }
        budget.earn(Instant::now());
        if budget.left <= 0.0 || occupancy(&server) != Occupancy::Free {
            continue;
        }
        let due = server.engine.results().due(server.engine.registry(), Utc::now().timestamp_millis());
        for question in due {
            let began = Instant::now();
            let longest = Duration::from_secs_f64(budget.most());
            tokio::select! {
                () = refresh(&server, &question, longest) => budget.spend(began.elapsed()),
                () = server.draining.cancelled() => return,
            }
            if budget.left <= 0.0 || occupancy(&server) != Occupancy::Free {
                break;
            }
        }
    }
}

/// What clients leave of the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupancy {
    /// Half of them, at least.
    Free,
    Some,
    /// Nothing.
    Full,
}

fn occupancy(server: &Server) -> Occupancy {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).max(2);
    // Who waits for another's answer needs none.
    let waiting = server.engine.results().waiting();
    match server.connections.active_clients().saturating_sub(waiting) {
        running if running * 2 < cores => Occupancy::Free,
        // Somebody may wait for just what is being run.
        running if running < cores || waiting > 0 => Occupancy::Some,
        _ => Occupancy::Full,
    }
}

/// Runs a question on the query pool, unless its answer is there. A run that takes too long is not tried
/// again; one that is in the way of clients is, later.
async fn refresh(server: &Arc<Server>, question: &Arc<Question>, longest: Duration) {
    let slot = server.connections.add_worker(&question.user, &question.database, APPLICATION);
    let (pid, statement) = (slot.pid, slot.begin(&question.text));
    let work = {
        let (server, question) = (server.clone(), question.clone());
        let (stopped, terminated) = (statement.clone(), slot.terminate.clone());
        let abandoned = Abandoned::new(move || stopped.is_cancelled() || terminated.is_cancelled());
        scoped(&server.runtimes.query.clone(), "refreshed answer", async move {
            pgwire::ask_again(&server, &question, pid, abandoned).await
        })
    };
    let forget = tokio::select! {
        ended = work => match ended {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                tracing::debug!(error = error.message, query = question.text, "query of the result cache not run again");
                true
            }
            Err(_) => true,
        },
        () = tokio::time::sleep(longest) => true,
        () = statement.cancelled() => true,
        () = slot.terminate.cancelled() => true,
        () = crowded_out(server) => false,
    };
    // What it may have left running stops.
    statement.cancel();
    server.connections.remove(pid);
    if forget {
        server.engine.results().forget(question);
    }
}

/// Returns when clients need all the cores.
async fn crowded_out(server: &Server) {
    loop {
        tokio::time::sleep(BREATH).await;
        if occupancy(server) == Occupancy::Full {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_earned_and_spent() {
        let start = Instant::now();
        let mut budget = Budget::new(25, start);
        assert_eq!(budget.most(), 15.0);
        budget.spend(Duration::from_secs(17));
        assert!(budget.left < 0.0);
        budget.earn(start + Duration::from_secs(4));
        assert!(budget.left < 0.0);
        budget.earn(start + Duration::from_secs(12));
        assert_eq!(budget.left, 1.0);
        budget.earn(start + Duration::from_secs(600));
        assert_eq!(budget.left, 15.0);
    }
}
