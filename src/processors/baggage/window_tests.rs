//! `baggage` behind `trace_window`: whatever the order of arrival, each span has what stands
//! nearest above it. Held against an oracle that sees the whole tree.

use crate::batch::{Batch, Signal};
use crate::moment::Moment;
use crate::otlp::text;
use crate::processors::row::Row;
use crate::processors::tests::{request, section};
use crate::processors::{Built, LIST, Out, Setup, Stateful};
use crate::telemetry::Registry;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn build(name: &str, yaml: &str) -> Box<dyn Stateful> {
    let kind = LIST.iter().find(|kind| kind.component.name == name).expect("it is listed");
    let registry = Registry::default();
    let setup = Setup::new(name, "traces", Signal::Traces, &registry);
    match (kind.build)(&section(name, yaml).expect("it is valid"), &setup) {
        Built::Inspector(inspector) => Box::new(Row::new(vec![inspector], vec![])),
        Built::Stateful(processor) => processor,
        Built::Stateless(_) => unreachable!("both hold state"),
    }
}

/// What leaves `baggage` when these requests come one after the other, as sorted lines.
fn run(requests: &[String], window: &str) -> BTreeSet<String> {
    let (mut window, mut baggage) = (build("trace_window", window), build("baggage", "{}"));
    let (mut now, mut out) = (Moment::default(), Out::default());
    for text in requests {
        let batch = Batch::parse(Signal::Traces, request(text), now).expect("well-formed");
        window.process(batch, now, &mut out);
        now = now.plus(Duration::from_millis(10));
    }
    window.finish(now, &mut out);
    let mut done = Out::default();
    out.take().into_iter().for_each(|batch| baggage.process(batch, now, &mut done));
    let printed = |batch: Batch| text::print(Signal::Traces.message(), batch.bytes());
    let lines: String = done.take().into_iter().map(printed).collect();
    lines.lines().filter(|line| line.starts_with("span")).map(str::to_owned).collect()
}

/// One span: its number in the trace, the number of its parent, and the user it carries.
type Model = Vec<(Option<usize>, Option<u8>)>;

/// A tree of up to 24 spans in which some carry one of three users, in each of three notations.
fn tree() -> impl Strategy<Value = Model> {
    let span = (any::<prop::sample::Index>(), prop::option::weighted(0.3, 0..3u8));
    prop::collection::vec(span, 1..24).prop_map(|spans| {
        let parent = |n: usize, at: prop::sample::Index| (n > 0).then(|| at.index(n));
        spans.into_iter().enumerate().map(|(n, (at, user))| (parent(n, at), user)).collect()
    })
}

/// The line of span `n` of trace `trace` as it comes.
fn line(trace: usize, n: usize, model: &Model) -> String {
    let (parent, user) = model[n];
    let parent = parent.map_or(String::new(), |p| format!(" parent={:x}", p + 1));
    let user = match user {
        None => String::new(),
        Some(0) => " user.id=\"u0\"".to_owned(),
        Some(1) => " baggage=\"user.id=u1,x=1\"".to_owned(),
        Some(u) => format!(" langfuse.user.id=\"u{u}\""),
    };
    format!("span {:x}/{:x}{parent}{user}", trace + 1, n + 1)
}

/// The same as it is to leave: the simplest way to say who is nearest.
fn expected(trace: usize, n: usize, model: &Model) -> String {
    let mut at = n;
    while let (Some(parent), None) = model[at] {
        at = parent;
    }
    let line = line(trace, n, model);
    match model[at].1 {
        Some(user) if !line.contains(" user.id=\"") => format!("{line} user.id=\"u{user}\""),
        _ => line,
    }
}

proptest! {
    #[test]
    fn every_span_has_the_nearest_value_above_it_and_no_other(
        trees in prop::collection::vec(tree(), 1..5),
        seed in any::<u64>(),
        size in 1..12usize,
    ) {
        let spans = |t: usize| (0..trees[t].len()).map(move |n| (t, n));
        let mut order: Vec<(usize, usize)> = (0..trees.len()).flat_map(spans).collect();
        let all = order.clone();
        // A shuffle by the seed; most orders are neither parent-first nor child-first.
        order.sort_by_key(|(t, n)| {
            let key = seed ^ ((*t as u64) << 32 | *n as u64);
            key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
        });
        let lines: Vec<String> = order.iter().map(|(t, n)| line(*t, *n, &trees[*t])).collect();
        let requests: Vec<String> = lines.chunks(size).map(|lines| lines.join("\n")).collect();
        let wanted: BTreeSet<String> =
            all.iter().map(|(t, n)| expected(*t, *n, &trees[*t])).collect();
        prop_assert_eq!(run(&requests, "{}"), wanted);
    }
}

#[test]
fn among_ten_thousand_traces_every_span_carries_the_value_of_its_root() {
    // Level by level from the leaves up, the roots last.
    let traces = 1..=10_000u32;
    let level = |n: u32| {
        let user =
            |t: u32| if n == 1 { format!(" baggage=\"user.id=u{t}\"") } else { String::new() };
        let parent = if n == 1 { String::new() } else { format!(" parent={}", n - 1) };
        let lines = traces.clone().map(move |t| format!("span {t:x}/{n}{parent}{}", user(t)));
        lines.collect::<Vec<_>>().chunks(500).map(|lines| lines.join("\n")).collect::<Vec<_>>()
    };
    let requests: Vec<String> = (1..=4).rev().flat_map(level).collect();
    let left = run(&requests, "{limit_mib: 64}");
    assert_eq!(left.len(), 40_000);
    for line in left {
        let trace = line.split([' ', '/']).nth(1).and_then(|id| u32::from_str_radix(id, 16).ok());
        let user = format!(" user.id=\"u{}\"", trace.unwrap_or_default());
        assert!(line.ends_with(&user), "{line}");
    }
}
