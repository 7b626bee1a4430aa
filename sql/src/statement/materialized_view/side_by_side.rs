//! The refresh of the views of a cascade: each after those that it reads, side by side where nothing forbids
//! and in the places that the scheduler has too.
//!
//! One of them goes on without a place, as a statement that refreshes a single view does: a cascade never
//! waits for the scheduler's runs of other views.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use auric_catalog::registry::Table;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::{JoinError, JoinSet};

use super::cascade::Member;
use super::order::Order;
use super::refresh_one::{self, Refreshed, Wanted};
use crate::error::{Error, Result, SqlState};
use crate::materialize::build::Failed;
use crate::materialize::sources::full_name;
use crate::planner::Scope;
use crate::session::Notice;

/// A refresh that has ended.
#[derive(Debug)]
pub struct Ended {
    pub view: Table,
    pub started: DateTime<Utc>,
    pub notices: Vec<Notice>,
    pub result: std::result::Result<Refreshed, Failed>,
}

/// What is asked of all of them.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub full: bool,
    /// Full names of those that FULL has been done of.
    pub done: &'a BTreeSet<String>,
    /// One after the other then, and nothing after a failure.
    pub in_block: bool,
}

/// Refreshes what is not up to date. Returns what was begun, in the order of the members whatever ended
/// first, when all of it has ended. What comes after a view that failed is not begun; if the statement as a
/// whole is to begin anew or to end, nothing more is.
///
/// `members`: each after those that it reads. Dropping this stops all of them; what is being committed then
/// is committed.
pub async fn refresh(scope: &Scope, members: &[Member], asked: Asked<'_>) -> Result<Vec<Ended>> {
    let places = &scope.engine.places;
    let alone = asked.in_block || members.len() < 2;
    let mut run = Run::new(members, asked);
    let mut tasks: JoinSet<(usize, Ended)> = JoinSet::new();
    let mut spare = None;
    loop {
        while let Some((at, member)) = run.next() {
            if run.is_up_to_date(at) {
                run.begin();
                run.settle(at, Ended::up_to_date(scope, &member.view));
                continue;
            }
            let wanted = Wanted { full: run.full(at), in_block: asked.in_block };
            let work = refreshed(scope.clone(), member.view.clone(), wanted);
            if alone {
                run.begin();
                run.settle(at, work.await);
                continue;
            }
            let place = spare.take().or_else(|| places.take());
            if place.is_none() && !tasks.is_empty() {
                break;
            }
            run.begin();
            tasks.spawn(async move {
                let ended = work.await;
                drop(place);
                (at, ended)
            });
        }
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(Ok((at, ended))) => run.settle(at, ended),
                Some(Err(e)) => return Err(lost(&e)),
                None => break,
            },
            place = places.free(), if run.next().is_some() => spare = place,
        }
    }
    Ok(run.ended.into_values().collect())
}

fn refreshed(scope: Scope, view: Table, wanted: Wanted) -> BoxFuture<'static, Ended> {
    async move {
        let started = scope.engine.clock.now();
        let mut notices = Vec::new();
        let result = refresh_one::refresh(&scope, &view, wanted, &mut notices).await;
        Ended { view, started, notices, result }
    }
    .boxed()
}

fn lost(e: &JoinError) -> Error {
    Error::new(SqlState::INTERNAL_ERROR, format!("a refresh ended without a result: {e}"))
}

impl Ended {
    fn up_to_date(scope: &Scope, view: &Table) -> Self {
        let (view, started) = (view.clone(), scope.info.statement_start);
        let notices = vec![refresh_one::up_to_date(&view)];
        Self { view, started, notices, result: Ok(Refreshed::UpToDate) }
    }
}

/// How far it has come.
struct Run<'a> {
    members: &'a [Member],
    asked: Asked<'a>,
    /// Of each member, those that it reads.
    before: Vec<BTreeSet<usize>>,
    order: Order,
    ended: BTreeMap<usize, Ended>,
    published: BTreeSet<usize>,
}

impl<'a> Run<'a> {
    fn new(members: &'a [Member], asked: Asked<'a>) -> Self {
        let positions: HashMap<String, usize> =
            members.iter().enumerate().map(|(at, member)| (full_name(&member.view), at)).collect();
        let before = |member: &Member| -> BTreeSet<usize> {
            member.upstream.iter().filter_map(|name| positions.get(name).copied()).collect()
        };
        let before: Vec<BTreeSet<usize>> = members.iter().map(before).collect();
        let (ended, published) = (BTreeMap::new(), BTreeSet::new());
        Self { members, asked, order: Order::new(&before), before, ended, published }
    }

    /// The first that may be begun.
    fn next(&self) -> Option<(usize, &'a Member)> {
        let at = self.order.first()?;
        Some((at, self.members.get(at)?))
    }

    /// The first that may be begun is begun.
    fn begin(&mut self) {
        self.order.begin();
    }

    fn full(&self, at: usize) -> bool {
        let is_done = |member: &Member| self.asked.done.contains(&full_name(&member.view));
        self.asked.full && !self.members.get(at).is_some_and(is_done)
    }

    /// What was found when the members were looked for holds as long as none that it reads is another one.
    fn is_up_to_date(&self, at: usize) -> bool {
        let is_current = self.members.get(at).is_some_and(|member| member.is_current);
        let reads_the_same = self.before.get(at).is_some_and(|before| before.is_disjoint(&self.published));
        is_current && reads_the_same && !self.full(at)
    }

    fn settle(&mut self, at: usize, ended: Ended) {
        match &ended.result {
            Ok(refreshed) => {
                if *refreshed == Refreshed::Published {
                    self.published.insert(at);
                }
                self.order.done(at);
            }
            Err(failed) if self.asked.in_block || ends_all(&failed.error) => self.order.stop(),
            Err(_) => {}
        }
        self.ended.insert(at, ended);
    }
}

/// Whether the whole statement is to begin anew, or nobody waits for it any more.
fn ends_all(e: &Error) -> bool {
    e.code == SqlState::SERIALIZATION_FAILURE || e.code == SqlState::QUERY_CANCELED
}
