//! The score of `orphans` on torn traces whose truth is known: a short form with every run of the
//! tests, and the whole as `just score`, on other seeds and frameworks than it was tuned on.

mod corpus;

use corpus::baselines;
use corpus::breakers::{Broken, absent, break_some};
use corpus::decoys::decoys;
use corpus::dialects::{Dialect, REPORTED, TUNED};
use corpus::generator::{Keys, Settings, traces};
use corpus::pipeline::{Passed, Pipeline, moment, run};
use corpus::score::Score;
use spanloom::otlp::text::parse;
use std::collections::BTreeMap;

fn settings(keys: Keys, seed: u64, traces: usize, dialects: &'static [Dialect]) -> Settings {
    Settings { seed, traces, keys, rate: 10.0, skew: 20.0, content: false, dialects }
}

fn passed(settings: &Settings, share: f64) -> (Broken, Passed) {
    let made = traces(settings);
    let mut broken = break_some(made, share, settings.keys, settings.seed ^ 7);
    broken.spans.extend(decoys(settings, &broken.spans));
    let passed = run(&broken.spans, settings.seed ^ 11, true, "{}");
    (broken, passed)
}

fn score(settings: &Settings, share: f64) -> Score {
    let (broken, passed) = passed(settings, share);
    assert_eq!(passed.spans, broken.spans.len(), "every span leaves once");
    Score::of(&broken, &passed)
}

#[test]
#[ignore = "takes minutes in a debug build; run it by `just score`"]
fn the_whole() {
    let number = std::env::var("SCORE_TRACES").ok().and_then(|text| text.parse().ok());
    let number = number.unwrap_or(8000);
    for (sort, dialects, seed) in [("tuned", TUNED, 1), ("reported", REPORTED, 77_001)] {
        for keys in [Keys::Full, Keys::Session, Keys::None] {
            let settings = settings(keys, seed, number, dialects);
            score(&settings, 0.3).print(&format!("{sort}, keys {keys:?}"));
        }
        for keys in [Keys::Session, Keys::None] {
            let settings = Settings { content: true, ..settings(keys, seed, number, dialects) };
            score(&settings, 0.3).print(&format!("{sort}, keys {keys:?}, arguments of tools"));
        }
        let settings = settings(Keys::Full, seed + 9, number, dialects);
        score(&settings, 0.0).print(&format!("{sort}, intact"));
    }
}

/// A name, traces a second, the clocks' standard deviation in milliseconds, and the share of heads
/// whose parent never comes.
const STRESS: [(&str, f64, f64, f64); 7] = [
    ("x10, 20 ms, none absent", 10.0, 20.0, 0.0),
    ("x1", 1.0, 20.0, 0.0),
    ("x100", 100.0, 20.0, 0.0),
    ("x10, clocks agree", 10.0, 0.0, 0.0),
    ("x10, clocks 200 ms apart", 10.0, 200.0, 0.0),
    ("x10, 10 % of parents absent", 10.0, 20.0, 0.1),
    ("x10, 30 % of parents absent", 10.0, 20.0, 0.3),
];

#[test]
#[ignore = "takes minutes in a debug build; run it by `just score`"]
fn under_stress() {
    let number = std::env::var("SCORE_TRACES").ok().and_then(|text| text.parse().ok());
    let number = number.unwrap_or(4000);
    // What the engine is tuned on while it is worked on.
    let tuned = std::env::var_os("SCORE_TUNED").is_some();
    let (sort, dialects, seed) =
        if tuned { ("tuned", TUNED, 301) } else { ("reported", REPORTED, 77_301) };
    for keys in [Keys::Full, Keys::Session, Keys::None] {
        println!("\n{sort}, keys {keys:?}: precision and recall of joins | of calls and tools |");
        println!("  of remote calls | wrong per million spans, calibration error, us per span");
        for (name, rate, skew, share) in STRESS {
            let settings = Settings { rate, skew, ..settings(keys, seed, number, dialects) };
            let mut broken = break_some(traces(&settings), 0.3, keys, settings.seed ^ 7);
            absent(&mut broken, share, settings.seed ^ 13);
            broken.spans.extend(decoys(&settings, &broken.spans));
            let passed = run(&broken.spans, settings.seed ^ 11, true, "{}");
            assert_eq!(passed.spans, broken.spans.len(), "every span leaves once");
            Score::of(&broken, &passed).line(name);
            for (rule, counts) in baselines::all(&broken).iter().filter(|_| share != 0.1) {
                if counts.right + counts.wrong == 0 {
                    println!("    {rule:<32} chooses nobody");
                    continue;
                }
                let (p, r) = (counts.precision(), counts.recall());
                println!("    {rule:<32} {p:.4} {r:.4} of torn roots, calls and tools");
            }
        }
    }
}

#[test]
#[ignore = "takes minutes in a debug build; run it while confidence is tuned"]
fn what_confidence_is_worth_by_evidence() {
    for keys in [Keys::Session, Keys::None] {
        for (rate, share) in [(10.0, 0.0), (10.0, 0.3), (100.0, 0.0)] {
            let mut all = BTreeMap::<(String, usize), (f64, usize, usize)>::new();
            for seed in 401..413 {
                let settings = Settings { rate, ..settings(keys, seed, 3000, TUNED) };
                let mut broken = break_some(traces(&settings), 0.3, keys, seed ^ 7);
                absent(&mut broken, share, seed ^ 13);
                let passed = run(&broken.spans, seed ^ 11, true, "{}");
                for (bin, (sum, right, count)) in Score::of(&broken, &passed).reliability {
                    let known = all.entry(bin).or_default();
                    *known = (known.0 + sum, known.1 + right, known.2 + count);
                }
            }
            println!(
                "\nkeys {keys:?}, x{rate}, {share} absent: evidence, confidence, right, of all"
            );
            for ((evidence, _), (sum, right, count)) in all {
                let (says, is) = (sum / count as f64, right as f64 / count as f64);
                println!("  {evidence:<22}{says:>8.3}{is:>8.3}{count:>7}");
            }
        }
    }
}

/// Bytes that the process has in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

#[test]
#[ignore = "measures; run it by `just score`, alone"]
fn bytes_per_span() {
    println!();
    for keys in [Keys::Full, Keys::Session, Keys::None] {
        let settings = settings(keys, 77_401, 6000, REPORTED);
        let broken = break_some(traces(&settings), 0.3, settings.keys, 5);
        let requests: Vec<Vec<u8>> = broken
            .spans
            .chunks(512)
            .map(|spans| corpus::span::encode(&spans.iter().collect::<Vec<_>>()))
            .collect();
        let mut pipeline = Pipeline::new(false, "{head_hold: 0s}");
        let before = resident();
        for (n, bytes) in requests.iter().enumerate() {
            pipeline.push(bytes.clone(), moment(1000.0 + n as f64 * 100.0));
        }
        let bytes = resident().saturating_sub(before) as f64 / broken.spans.len() as f64;
        println!("keys {keys:?}: state of {} spans: {bytes:.0} bytes per span", broken.spans.len());
    }
}

/// What spans do, and the text of one of them by its number.
type Hostile = (&'static str, fn(usize) -> String);

/// Spans that are made to cost much.
const HOSTILE: [Hostile; 5] = [
    ("one key on every span", |n| {
        format!(
            "span {:x}/{:x} 0..9ms kind=client session.id=\"s\" a2a.task.id=\"t\"",
            n + 1,
            n + 1
        )
    }),
    ("traces of one span", |n| format!("span {:x}/1 \"a\" 0..9ms", n + 1)),
    ("roots of tools in one session", |n| {
        let tool = "gen_ai.operation.name=\"execute_tool\" session.id=\"s\"";
        format!("span {:x}/1 \"a\" {}ms..{}ms {tool}", n + 1, n, n + 900)
    }),
    ("a ring in one trace", |n| {
        let agent = "gen_ai.operation.name=\"invoke_agent\"";
        format!("span 1/{:x} parent={:x} 0..9ms {agent}", n + 1, (n + 1) % 1000 + 1)
    }),
    ("many roots in one trace", |n| {
        let agent = "gen_ai.operation.name=\"invoke_agent\"";
        format!("span 1/{:x} {}ms..{}ms {agent}", n + 1, n, 200_000)
    }),
];

/// What hostile spans cost; every one of them leaves once.
fn hostile(count: usize) -> Vec<(&'static str, f64)> {
    let cost = |(name, text): Hostile| {
        let mut pipeline = Pipeline::new(false, "limit_mib: 8");
        for from in (0..count).step_by(500) {
            let lines: Vec<String> = (from..count.min(from + 500)).map(text).collect();
            let now = moment(1000.0 + from as f64);
            pipeline.push(parse(&lines.join("\n")).expect(name), now);
            pipeline.wake(now);
        }
        pipeline.finish(moment(1000.0 + count as f64));
        assert_eq!(pipeline.passed.spans, count, "{name}: every span leaves once");
        (name, pipeline.passed.took.as_secs_f64() * 1e6 / count as f64)
    };
    HOSTILE.into_iter().map(cost).collect()
}

#[test]
fn hostile_spans_all_leave() {
    hostile(3000);
}

#[test]
#[ignore = "measures; run it by `just score`"]
fn hostile_spans_cost_the_same_however_many() {
    for count in [20_000, 130_000] {
        for (name, cost) in hostile(count) {
            println!("{name}: {cost:.3} us per span of {count}");
        }
    }
}

#[test]
fn intact_traces_have_no_findings() {
    for keys in [Keys::Full, Keys::Session] {
        let score = score(&settings(keys, 3, 300, TUNED), 0.0);
        assert_eq!(score.false_findings, 0, "{:?}", score.notes);
    }
}

#[test]
fn torn_traces_are_found_and_joined_where_keys_are() {
    let score = score(&settings(Keys::Full, 4, 400, REPORTED), 0.5);
    assert_eq!(score.rewrites.wrong, 0, "{:?}", score.notes);
    assert!(score.joins.precision() >= 0.95, "{:?}", score.notes);
    assert!(score.joins.recall() >= 0.9, "{:?}", score.notes);
    // Gaps are few here, and some longer than is looked for.
    for (name, counts) in corpus::score::SIGNATURES.iter().zip(&score.signatures) {
        let least = if *name == "unexplained_gap" { 0.6 } else { 0.9 };
        assert!(counts.f1() >= least, "{name}: {counts:?} {:?}", score.notes);
    }
}

#[test]
fn what_is_rewritten_is_of_the_trace_that_it_gets() {
    for dialects in [TUNED, REPORTED] {
        let settings = settings(Keys::Full, 5, 400, dialects);
        let broken = break_some(traces(&settings), 0.5, settings.keys, 6);
        let passed = run(&broken.spans, 7, true, "mode: rewrite");
        assert_eq!(passed.spans, broken.spans.len(), "every span leaves once");
        let heads: BTreeMap<u128, u128> =
            broken.truth.iter().map(|((trace, _), torn)| (*trace, torn.trace)).collect();
        let right = |((was, _), is): (&(u128, u64), &u128)| heads.get(was) == Some(is);
        assert!(passed.rewritten.len() > 50, "{} were rewritten", passed.rewritten.len());
        assert!(passed.rewritten.iter().all(right), "a fragment got a trace that it is not of");
    }
}

#[test]
fn documented_shapes_are_told_apart() {
    corpus::shapes::check_all();
}
