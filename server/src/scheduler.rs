//! Follows schedules: the timer, the threads and the connections that the scheduler of `auric_sql` lacks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auric_sql::materialize::scheduler::plan::Ended;
use auric_sql::materialize::scheduler::{Job, Options, Rules, Scheduler};
use auric_sql::{Abandoned, SqlState};
use chrono::{TimeDelta, Utc};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::notify::Notifier;
use crate::pgwire::Server;
use crate::runtime::scoped;

/// Shortest time between two looks, however much happens.
const BREATH: Duration = Duration::from_millis(20);

/// What `pg_stat_activity` shows as the application.
const APPLICATION: &str = "auric scheduler";

/// A run that is over; `None`: nobody knows how.
type Over = (Job, Option<(Ended, Option<SqlState>)>);

/// What the configuration says.
fn options(config: &Config) -> Options {
    let section = &config.materialize;
    let time = |time: Duration| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Options {
        rules: Rules {
            retries: number(section.retries),
            retry_pause: time(section.retry_pause),
            suspend_after: number(section.suspend_after),
        },
        lease: time(section.lease),
        history: number(section.history),
        holder: format!("{:032x}", rand::random::<u128>()),
    }
}

/// Follows the schedules of all catalogs until the server shuts down, then waits for what runs.
pub async fn follow(server: Arc<Server>, config: Config, notifier: Option<Notifier>) {
    let mut scheduler = Scheduler::new(server.engine.clone(), options(&config));
    let (sender, mut over) = mpsc::unbounded_channel::<Over>();
    let mut running = 0_usize;
    while !server.draining.is_cancelled() {
        let began = Instant::now();
        let tick = scheduler.tick().await;
        for job in tick.jobs {
            running += 1;
            let (server, sender) = (server.clone(), sender.clone());
            crate::runtime::spawn(&server.runtimes.io.clone(), "scheduled run", async move {
                let ended = carry_out(&server, &job).await;
                // Nobody listens any more: the server is gone.
                let _ = sender.send((job, ended));
            });
        }
        // A large catalog is not looked at all the time.
        let breath = BREATH.max(began.elapsed() * 2);
        let until = tick.wake.map(|wake| (wake - Utc::now()).to_std().unwrap_or_default());
        let longest = config.materialize.poll_interval.max(breath);
        let pause = until.unwrap_or(longest).clamp(breath.min(longest), longest);
        let mut ended = None;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = Scheduler::changed(&server.engine) => tokio::time::sleep(breath).await,
            next = over.recv() => ended = next,
            () = server.draining.cancelled() => {}
        }
        while let Some(next) = ended.take().or_else(|| over.try_recv().ok()) {
            running = running.saturating_sub(1);
            conclude(&mut scheduler, &server, notifier.as_ref(), next).await;
        }
    }
    while running > 0 {
        let Some(next) = over.recv().await else { break };
        running -= 1;
        conclude(&mut scheduler, &server, notifier.as_ref(), next).await;
    }
    scheduler.stop().await;
}

async fn conclude(
    scheduler: &mut Scheduler,
    server: &Server,
    notifier: Option<&Notifier>,
    (job, ended): Over,
) {
    if let Some((ended, _)) = &ended {
        tracing::debug!(node = %job.key(), outcome = ended.outcome.word(), error = ended.error, "scheduled run");
    }
    for event in scheduler.finish(&job, ended.as_ref()).await {
        tracing::warn!(
            node = %event.node, kind = ?event.kind, attempts = event.attempts, error = event.error,
            "scheduled run failed"
        );
        if let Some(notifier) = notifier {
            notifier.send(&server.runtimes, &event);
        }
    }
}

/// Runs a job on the query pool, where it can be seen and cancelled as a connection's statement can.
async fn carry_out(server: &Arc<Server>, job: &Job) -> Option<(Ended, Option<SqlState>)> {
    let slot = server.connections.add_worker(job.user(), &job.key().catalog, APPLICATION);
    let pid = slot.pid;
    let statement = slot.begin(&job.statement);
    let started = Utc::now();
    let work = {
        let (job, engine) = (job.clone(), server.engine.clone());
        let (stopped, terminated) = (statement.clone(), slot.terminate.clone());
        let abandoned = Abandoned::new(move || stopped.is_cancelled() || terminated.is_cancelled());
        scoped(&server.runtimes.query, "scheduled run", async move {
            job.run(&engine, pid, Some(abandoned)).await
        })
    };
    let ended = tokio::select! {
        ended = work => match ended {
            Ok(ended) => Some(ended),
            Err(error) => Some(job.broken(&server.engine, started, &error.to_string())),
        },
        () = statement.cancelled() => None,
        () = slot.terminate.cancelled() => None,
    };
    server.connections.remove(pid);
    match ended {
        // The server is going: it will be due again.
        None if server.draining.is_cancelled() => None,
        None => Some(job.cancelled(&server.engine, started)),
        ended => ended,
    }
}
