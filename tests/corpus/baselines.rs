//! What others would choose as a head's parent, to compare with: rules that always choose somebody.

use super::breakers::Broken;
use super::score::Counts;
use super::span::{Part, Span};
use std::collections::{BTreeMap, HashSet};

/// The name of each rule, and how its choices compare with the truth.
pub fn all(broken: &Broken) -> [(&'static str, Counts); 3] {
    let mut spans: Vec<&Span> = broken.spans.iter().collect();
    spans.sort_by(|a, b| a.start.total_cmp(&b.start));
    let longest = spans.iter().map(|span| span.end - span.start).fold(0.0, f64::max);
    let present: HashSet<(u128, u64)> = spans.iter().map(|span| (span.trace, span.span)).collect();
    let roots: BTreeMap<u128, &Span> =
        spans.iter().rev().filter(|s| s.parent == 0).map(|s| (s.trace, *s)).collect();
    let mut counts = [Counts::default(); 3];
    let mut taken = HashSet::new();
    for head in spans.iter().copied() {
        let Some(torn) = broken.truth.get(&(head.trace, head.span)) else { continue };
        if !matches!(torn.breaker, "B1" | "B2" | "B3") {
            continue;
        }
        let from = spans.partition_point(|span| span.start < head.start - longest);
        let to = spans.partition_point(|span| span.start <= head.start);
        let open: Vec<&Span> = spans[from..to]
            .iter()
            .copied()
            .filter(|span| span.end >= head.start && span.span != head.span && calls(span))
            .collect();
        let session = session(head);
        let of_session = |span: &&&Span| session.is_some() && self::session(span) == session;
        let first = open.iter().find(|span| !taken.contains(&span.span)).copied();
        taken.extend(first.map(|span| span.span));
        let latest = open.iter().rev().find(of_session).copied();
        let entry = roots.get(&head.trace).filter(|root| root.span != head.span).copied();
        let entry =
            entry.or_else(|| open.iter().filter(of_session).find(|s| s.parent == 0).copied());
        let parent = torn.parent.filter(|parent| present.contains(parent));
        for (counts, chosen) in counts.iter_mut().zip([first, latest, entry]) {
            let chosen = chosen.map(|span| (span.trace, span.span));
            let right = chosen.is_some() && chosen == parent;
            counts.right += usize::from(right);
            counts.wrong += usize::from(chosen.is_some() && !right);
            counts.missed += usize::from(parent.is_some() && !right);
        }
    }
    let [first, latest, entry] = counts;
    [("first come", first), ("latest open in session", latest), ("entry transaction", entry)]
}

/// Whether a span may call others.
fn calls(span: &Span) -> bool {
    matches!(span.part, Part::Agent | Part::Tool | Part::Client | Part::Producer | Part::Server)
}

fn session(span: &Span) -> Option<&str> {
    let mut values = span.attributes.iter().map(|(_, value)| value.as_str());
    values.find(|value| value.starts_with("session-"))
}
