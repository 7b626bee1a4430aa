//! The scheduler in virtual time: runs take no time unless a test says so, and the clock jumps to the next
//! moment at which something is to be done.

use super::super::super::schedule::{Schedule, Span};
use super::*;

type Run = (String, String, u32);

/// What a test says of a run: how it ends.
type Ending = Box<dyn FnMut(&str, DateTime<Utc>, u32) -> Outcome>;

struct Simulation {
    nodes: BTreeMap<NodeKey, Node>,
    states: BTreeMap<NodeKey, State>,
    pending: BTreeSet<NodeKey>,
    versions: BTreeMap<String, Seen>,
    now: DateTime<Utc>,
    rules: Rules,
    ending: Ending,
    /// Time, name, attempt.
    runs: Vec<Run>,
    skipped: Vec<(String, String)>,
    suspended: Vec<String>,
    last_version: u64,
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn key(kind: NodeKind, name: &str) -> NodeKey {
    NodeKey { catalog: "lake".into(), kind, ident: auric_catalog::TableIdent::new("s", name) }
}

fn table(name: &str) -> String {
    format!("lake.s.{name}")
}

fn cron(expression: &str, zone: &str) -> When {
    let schedule = Schedule::Cron { expression: expression.into(), time_zone: Some(zone.into()) };
    When::of(&schedule).unwrap()
}

fn every(text: &str) -> When {
    When::of(&Schedule::Every(Span::parse(text).unwrap())).unwrap()
}

fn on_update() -> When {
    When::OnUpdate { at_most_every: None }
}

impl Simulation {
    fn new(now: &str) -> Self {
        Self {
            nodes: BTreeMap::new(),
            states: BTreeMap::new(),
            pending: BTreeSet::new(),
            versions: BTreeMap::new(),
            now: utc(now),
            rules: Rules { retries: 0, retry_pause: TimeDelta::seconds(5), suspend_after: 0 },
            ending: Box::new(|_, _, _| Outcome::Done),
            runs: Vec::new(),
            skipped: Vec::new(),
            suspended: Vec::new(),
            last_version: 0,
        }
    }

    fn node(&mut self, kind: NodeKind, name: &str, when: When, reads: &[&str], writes: &str) -> &mut Node {
        let key = key(kind, name);
        let node = Node {
            key: key.clone(),
            id: "1".into(),
            when,
            reads: reads.iter().map(|name| table(name)).collect(),
            writes: table(writes),
            retries: None,
            suspended: false,
            since: self.now.timestamp_millis(),
            built: None,
            published: None,
            hash: name.to_string(),
        };
        self.nodes.entry(key).or_insert(node)
    }

    /// A view that shows what there is.
    fn view(&mut self, name: &str, when: When, reads: &[&str]) {
        reads.iter().for_each(|read| self.touch_if_new(read));
        self.touch(name);
        let built = reads.iter().map(|read| (table(read), self.versions[&table(read)].version.clone()));
        let built: Versions = built.collect();
        let node = self.node(NodeKind::View, name, when, reads, name);
        (node.built, node.published) = (Some(built), Some("0".into()));
    }

    fn task(&mut self, name: &str, when: When, reads: &[&str], writes: &str) {
        reads.iter().chain([&writes]).for_each(|read| self.touch_if_new(read));
        self.node(NodeKind::Task, name, when, reads, writes);
    }

    fn touch_if_new(&mut self, name: &str) {
        if !self.versions.contains_key(&table(name)) {
            self.touch(name);
        }
    }

    fn touch(&mut self, name: &str) {
        self.last_version += 1;
        let seen = Seen { version: self.last_version.to_string(), since: self.now.timestamp_millis() };
        self.versions.insert(table(name), seen);
    }

    fn plan(&mut self, running: &BTreeSet<NodeKey>) -> (Graph, Plan) {
        let graph = Graph::new(self.nodes.values().cloned());
        let held = BTreeSet::new();
        let world = |states| World {
            graph: &graph,
            states,
            versions: &self.versions,
            running,
            held: &held,
            pending: &self.pending,
            now: self.now,
        };
        let settled: Vec<_> = graph
            .nodes
            .values()
            .filter_map(|node| Some((node.key.clone(), settled(world(&self.states), node)?)))
            .collect();
        self.states.extend(settled);
        let plan = plan(World {
            graph: &graph,
            states: &self.states,
            versions: &self.versions,
            running,
            held: &held,
            pending: &self.pending,
            now: self.now,
        });
        let due = plan.ready.iter().chain(&plan.waiting);
        self.pending = due.map(|due| due.key.clone()).collect();
        (graph, plan)
    }

    fn end(&mut self, due: &Due, outcome: Outcome) {
        let name = due.key.ident.name.clone();
        let node = self.nodes.get_mut(&due.key).unwrap();
        let run_id = format!("{name} {} {}", due.slot, due.attempt);
        if outcome == Outcome::Done {
            let writes = node.writes.clone();
            if due.key.kind == NodeKind::View {
                let built = node.reads.iter().map(|read| (read.clone(), self.versions[read].version.clone()));
                node.built = Some(built.collect());
                node.published = Some(run_id.clone());
            }
            self.touch(writes.strip_prefix("lake.s.").unwrap());
        }
        let (error, expectations) = (None, None);
        let ended = Ended { run_id, started: self.now, finished: self.now, outcome, error, expectations };
        let node = self.nodes[&due.key].clone();
        let next = after(&self.rules, &node, &self.states[&due.key], due, &ended);
        self.states.insert(due.key.clone(), next.state);
        if next.suspend {
            self.suspended.push(name);
            self.nodes.get_mut(&due.key).unwrap().suspended = true;
        }
    }

    /// Everything that comes up to a time.
    fn until(&mut self, end: &str) -> &mut Self {
        let end = utc(end);
        loop {
            let (_, plan) = self.plan(&BTreeSet::new());
            for (due, failed) in &plan.skipped {
                self.skipped.push((due.key.ident.name.clone(), failed.ident.name.clone()));
                self.end(due, Outcome::Skipped);
            }
            // One at a time, as others may be due by then.
            if let Some(due) = plan.ready.first() {
                let outcome = (self.ending)(&due.key.ident.name, self.now, due.attempt);
                let at = self.now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                self.runs.push((at, due.key.ident.name.clone(), due.attempt));
                self.end(due, outcome);
            } else if plan.skipped.is_empty() {
                match plan.wake.filter(|wake| *wake <= end) {
                    Some(wake) => {
                        assert!(wake > self.now, "the clock stands still");
                        self.now = wake;
                    }
                    None => {
                        self.now = end;
                        return self;
                    }
                }
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.runs.iter().map(|(_, name, _)| name.as_str()).collect()
    }

    fn take_names(&mut self) -> Vec<String> {
        std::mem::take(&mut self.runs).into_iter().map(|(_, name, _)| name).collect()
    }
}

#[test]
fn a_year_of_schedules() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.task("hourly", every("1 hour"), &["raw"], "clean");
    s.task("nightly", cron("30 2 * * *", "Europe/Paris"), &["clean"], "daily");
    s.view("report", on_update(), &["daily"]);
    s.task("mondays", cron("0 6 * * mon", "America/New_York"), &["daily"], "weekly");
    s.until("2027-01-01T00:00:00Z");
    let count = |name: &str| s.names().iter().filter(|run| **run == name).count();
    assert_eq!(count("hourly"), 365 * 24);
    assert_eq!(count("nightly"), 365);
    assert_eq!(count("report"), 365);
    assert_eq!(count("mondays"), 52);
    // The day without 02:30, and the one with two.
    let on = |day: &str| -> Vec<&str> {
        let runs = s.runs.iter().filter(|(at, name, _)| name == "nightly" && at.starts_with(day));
        runs.map(|(at, ..)| at.as_str()).collect()
    };
    assert_eq!(on("2026-03-29"), ["2026-03-29T01:00:00Z"]);
    assert_eq!(on("2026-10-25"), ["2026-10-25T00:30:00Z"]);
    assert_eq!(on("2026-10-26"), ["2026-10-26T01:30:00Z"]);
}

#[test]
fn what_was_missed_is_made_up_for_once() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.task("hourly", every("1 hour"), &[], "t");
    s.until("2026-01-01T01:30:00Z");
    assert_eq!(s.take_names(), ["hourly"]);
    // Nobody was there for a week.
    s.now = utc("2026-01-08T12:10:00Z");
    s.until("2026-01-08T12:20:00Z");
    assert_eq!(s.take_names(), ["hourly"]);
    s.until("2026-01-08T14:00:00Z");
    assert_eq!(s.take_names(), ["hourly", "hourly"]);
    // A task begins with the slot after it was made.
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.task("daily", every("1 day"), &[], "t");
    s.until("2026-01-01T23:59:59Z");
    assert!(s.runs.is_empty());
}

#[test]
fn failures_are_tried_again_and_at_last_suspended() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.rules = Rules { retries: 2, retry_pause: TimeDelta::seconds(8), suspend_after: 3 };
    s.task("bad", every("1 hour"), &[], "t");
    s.ending = Box::new(|_, _, _| Outcome::Failed);
    s.until("2026-01-02T00:00:00Z");
    let attempts: Vec<u32> = s.runs.iter().map(|(.., attempt)| *attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    assert_eq!(s.suspended, ["bad"]);
    // Pauses of 4 to 8 and of 8 to 16 seconds.
    let at = |i: usize| utc(&s.runs[i].0);
    let (first, second) = (at(1) - at(0), at(2) - at(1));
    assert!((4_000..=8_000).contains(&first.num_milliseconds()), "{first}");
    assert!((8_000..=16_000).contains(&second.num_milliseconds()), "{second}");
    // Resumed: failures are counted anew, and what was missed is not made up for.
    s.runs.clear();
    s.nodes.get_mut(&key(NodeKind::Task, "bad")).unwrap().suspended = false;
    s.ending = Box::new(|_, _, attempt| if attempt == 2 { Outcome::Done } else { Outcome::Failed });
    s.until("2026-01-02T00:59:00Z");
    assert!(s.runs.is_empty());
    s.until("2026-01-02T05:30:00Z");
    assert_eq!(
        s.runs.iter().map(|(.., attempt)| *attempt).collect::<Vec<_>>(),
        [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]
    );
    assert_eq!(s.states[&key(NodeKind::Task, "bad")].failures, 0);
}

#[test]
fn what_comes_before_goes_first_and_what_fails_stops_what_comes_after_alone() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    // By name they would run the other way round.
    s.task("z_load", every("1 hour"), &["raw"], "clean");
    s.view("y_fact", every("1 hour"), &["clean"]);
    s.view("x_gold", every("1 hour"), &["y_fact"]);
    s.view("a_other", every("1 hour"), &["raw"]);
    s.until("2026-01-01T01:00:00Z");
    assert_eq!(s.take_names(), ["z_load", "a_other", "y_fact", "x_gold"]);
    s.ending = Box::new(|name, now, _| {
        let broken = name == "y_fact" && now < utc("2026-01-01T02:30:00Z");
        if broken { Outcome::Failed } else { Outcome::Done }
    });
    s.until("2026-01-01T02:00:00Z");
    assert_eq!(s.take_names(), ["z_load", "a_other", "y_fact"]);
    assert_eq!(s.skipped, [("x_gold".to_string(), "y_fact".to_string())]);
    s.until("2026-01-01T03:00:00Z");
    assert_eq!(s.take_names(), ["z_load", "a_other", "y_fact", "x_gold"]);
}

#[test]
fn what_is_tried_again_holds_back_what_comes_after() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.rules.retries = 1;
    s.task("z_load", every("1 hour"), &["raw"], "clean");
    s.view("gold", every("1 hour"), &["clean"]);
    s.ending = Box::new(|name, _, attempt| match (name, attempt) {
        ("z_load", 1) => Outcome::Failed,
        _ => Outcome::Done,
    });
    s.until("2026-01-01T01:30:00Z");
    assert_eq!(s.take_names(), ["z_load", "z_load", "gold"]);
    assert!(s.skipped.is_empty());
}

#[test]
fn updates_go_through_the_graph_once() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.view("fact", on_update(), &["raw"]);
    s.view("agg", on_update(), &["fact", "raw"]);
    s.view("top", on_update(), &["agg"]);
    s.until("2026-01-01T00:01:00Z");
    assert!(s.runs.is_empty());
    s.touch("raw");
    s.until("2026-01-01T00:02:00Z");
    assert_eq!(s.take_names(), ["fact", "agg", "top"]);
    s.until("2026-01-02T00:00:00Z");
    assert!(s.runs.is_empty());
    // One that fails is not begun again before something changes.
    s.ending = Box::new(|name, _, _| if name == "fact" { Outcome::Failed } else { Outcome::Done });
    s.touch("raw");
    s.until("2026-01-03T00:00:00Z");
    assert_eq!(s.take_names(), ["fact"]);
    assert_eq!(s.skipped, [("agg".to_string(), "fact".to_string())]);
    s.ending = Box::new(|_, _, _| Outcome::Done);
    s.touch("raw");
    s.until("2026-01-04T00:00:00Z");
    assert_eq!(s.take_names(), ["fact", "agg", "top"]);
}

#[test]
fn updates_wait_for_their_turn() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.view("v", When::OnUpdate { at_most_every: Span::parse("10 minutes") }, &["raw"]);
    s.touch("raw");
    s.until("2026-01-01T00:01:00Z");
    s.touch("raw");
    s.until("2026-01-01T00:09:59Z");
    assert_eq!(s.runs.len(), 1);
    s.until("2026-01-01T00:30:00Z");
    assert_eq!(s.runs.len(), 2);
    assert_eq!(s.runs[1].0, "2026-01-01T00:10:00Z");
}

#[test]
fn tasks_on_update_see_each_version_once() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.task("t", on_update(), &["raw"], "clean");
    s.until("2026-01-01T00:01:00Z");
    // What was there when it was made is new to it.
    assert_eq!(s.take_names(), ["t"]);
    // What it changes itself does not begin it again.
    s.touch("clean");
    s.until("2026-01-01T00:02:00Z");
    assert!(s.runs.is_empty());
    s.touch("raw");
    s.touch("raw");
    s.until("2026-01-01T00:03:00Z");
    assert_eq!(s.take_names(), ["t"]);
}

#[test]
fn tasks_after_others_follow_each_run_once() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.task("a", every("1 hour"), &[], "ta");
    s.task("b", every("2 hours"), &[], "tb");
    s.view("v", every("1 hour"), &["ta"]);
    s.task("c", When::After(vec![key(NodeKind::Task, "a"), key(NodeKind::Task, "b")]), &[], "tc");
    s.task("d", When::After(vec![key(NodeKind::View, "v"), key(NodeKind::Task, "c")]), &[], "td");
    s.until("2026-01-01T01:00:00Z");
    assert_eq!(s.take_names(), ["a", "v"]);
    s.until("2026-01-01T02:00:00Z");
    assert_eq!(s.take_names(), ["a", "b", "c", "v", "d"]);
    s.until("2026-01-01T03:00:00Z");
    assert_eq!(s.take_names(), ["a", "v"]);
    // What failed is not followed.
    s.ending = Box::new(|name, _, _| if name == "b" { Outcome::Failed } else { Outcome::Done });
    s.until("2026-01-01T05:00:00Z");
    assert_eq!(s.take_names(), ["a", "b", "v", "a", "v"]);
}

#[test]
fn lags_pull_what_comes_before() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.view("base", When::Never, &["raw"]);
    s.view("mid", When::Lag(Span::parse("1 hour").unwrap()), &["base"]);
    s.view("top", When::Lag(Span::parse("10 minutes").unwrap()), &["mid"]);
    s.view("alone", When::Never, &["raw"]);
    s.until("2026-01-01T01:00:00Z");
    assert!(s.runs.is_empty());
    s.touch("raw");
    s.until("2026-01-01T01:09:00Z");
    assert!(s.runs.is_empty());
    s.until("2026-01-01T01:10:00Z");
    assert_eq!(s.names(), ["base", "mid", "top"]);
    assert!(s.runs.iter().all(|(at, ..)| at == "2026-01-01T01:09:59Z"), "{:?}", s.runs);
    s.until("2026-01-02T00:00:00Z");
    assert_eq!(s.runs.len(), 3);
    // One with times of its own is not pulled.
    let base = s.nodes.get_mut(&key(NodeKind::View, "base")).unwrap();
    (base.when, base.id) = (every("1 day"), "2".into());
    s.runs.clear();
    s.touch("raw");
    s.until("2026-01-02T12:00:00Z");
    assert!(s.runs.is_empty());
    s.until("2026-01-03T01:00:00Z");
    assert_eq!(s.names(), ["base", "mid", "top"]);
}

#[test]
fn nothing_runs_twice_at_a_time() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.task("slow", every("1 minute"), &[], "t");
    s.view("v", every("1 minute"), &["t"]);
    s.now = utc("2026-01-01T00:30:30Z");
    let (_, plan) = s.plan(&BTreeSet::new());
    assert_eq!(plan.ready.len(), 0, "{plan:?}");
    s.now = utc("2026-01-01T00:35:00Z");
    let slow = key(NodeKind::Task, "slow");
    let (_, plan) = s.plan(&BTreeSet::from([slow.clone()]));
    assert!(plan.ready.is_empty());
    assert_eq!(plan.waiting.iter().map(|due| &due.key).collect::<Vec<_>>(), [&key(NodeKind::View, "v")]);
    let (_, plan) = s.plan(&BTreeSet::new());
    assert_eq!(plan.ready.iter().map(|due| &due.key).collect::<Vec<_>>(), [&slow]);
}

#[test]
fn rings_begin_somewhere() {
    let mut s = Simulation::new("2026-01-01T00:30:00Z");
    s.task("t", every("1 hour"), &["v"], "clean");
    s.view("v", every("1 hour"), &["clean"]);
    s.until("2026-01-01T01:00:00Z");
    let mut names = s.take_names();
    names.sort();
    assert_eq!(names, ["t", "v"]);
}

#[test]
fn five_hundred_nodes_with_nothing_to_do() {
    let mut s = Simulation::new("2026-01-01T00:00:00Z");
    s.view("v0", on_update(), &["raw"]);
    for i in 1..500 {
        let before = format!("v{}", i - 1);
        s.view(&format!("v{i}"), on_update(), &[&before, "raw"]);
    }
    let (_, plan) = s.plan(&BTreeSet::new());
    assert!(plan.ready.is_empty() && plan.waiting.is_empty());
    s.touch("raw");
    let (_, plan) = s.plan(&BTreeSet::new());
    assert_eq!((plan.ready.len(), plan.waiting.len()), (1, 499));
}
