//! Whether all that a pipeline accepted is accounted for, by its metrics.

use std::collections::BTreeMap;

use super::{Daemon, client, eventually};

/// One pipeline and one way out of it, in items.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Account {
    pub accepted: f64,
    pub recovered: f64,
    pub made: f64,
    pub delivered: f64,
    pub dead_lettered: f64,
    pub dropped: f64,
    pub queued: f64,
}

impl Account {
    pub fn is_exact(&self) -> bool {
        let ended = self.delivered + self.dead_lettered + self.dropped;
        let begun = self.accepted + self.recovered + self.made;
        self.queued >= 0.0 && begun == ended + self.queued
    }
}

/// The accounts of all pipelines, by `pipeline exporter`.
#[track_caller]
pub fn accounts(daemon: &Daemon) -> BTreeMap<String, Account> {
    let page = client::get(&daemon.metrics(), "/metrics").text();
    let mut found = BTreeMap::<String, Account>::new();
    let series = || page.lines().filter_map(series);
    for (name, labels, value) in series() {
        let (pipeline, exporter) = (label(labels, "pipeline"), label(labels, "exporter"));
        if exporter.is_empty() {
            continue;
        }
        let account = found.entry(format!("{pipeline} {exporter}")).or_default();
        match name {
            "delivered" => account.delivered += value,
            "dead_lettered" => account.dead_lettered += value,
            "dropped" => account.dropped += value,
            "queued" => account.queued += value,
            _ => {}
        }
    }
    for (name, labels, value) in series() {
        let prefix = format!("{} ", label(labels, "pipeline"));
        let all = found.iter_mut().filter(|(id, _)| id.starts_with(&prefix));
        for (_, account) in all.filter(|_| label(labels, "exporter").is_empty()) {
            match name {
                "accepted" => account.accepted += value,
                "recovered" => account.recovered += value,
                "made" => account.made += value,
                "dropped" => account.dropped += value,
                _ => {}
            }
        }
    }
    found
}

/// Asserts that every item that a pipeline accepted, or made, has ended in exactly one counted way,
/// or is queued. Counters are read one after the other, so it looks again for a while.
#[track_caller]
pub fn conserved(daemon: &Daemon) -> BTreeMap<String, Account> {
    let exact = || {
        let accounts = accounts(daemon);
        accounts.values().all(Account::is_exact).then_some(accounts)
    };
    let Some(accounts) = eventually(exact) else { panic!("not exact: {:#?}", accounts(daemon)) };
    accounts
}

/// As `conserved`, and nothing is queued any more.
#[track_caller]
pub fn conserved_at_rest(daemon: &Daemon) -> BTreeMap<String, Account> {
    let rests = || {
        let accounts = accounts(daemon);
        accounts.values().all(|one| one.is_exact() && one.queued == 0.0).then_some(accounts)
    };
    let Some(accounts) = eventually(rests) else { panic!("not at rest: {:#?}", accounts(daemon)) };
    accounts
}

/// `delivered`, the labels, and the value of a line of the metrics page.
fn series(line: &str) -> Option<(&str, &str, f64)> {
    let rest = line.strip_prefix("spanloom_pipeline_")?;
    let (name, rest) = rest.split_once("_items{")?;
    let (labels, value) = rest.rsplit_once("} ")?;
    Some((name, labels, value.parse().ok()?))
}

fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=\"");
    let rest = labels.split_once(&start).map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(value, _)| value)
}
