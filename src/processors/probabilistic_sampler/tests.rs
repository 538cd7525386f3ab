//! Who passes and what it says then: the Collector's own expectations as a table, and consistency.

use super::super::tests::{Bench, request, section};
use super::threshold::Randomness;
use crate::batch::Signal;
use crate::otlp::text;

/// Sampled at 50 % and not at 49 %.
const HALF: &str = "fefefefefefefefefe80000000000000";
/// Sampled at every percentage.
const RARE: &str = "111111111111111111ffffffffffffff";

const EQUALIZING: &str = "mode: equalizing";
const PROPORTIONAL: &str = "mode: proportional";

/// What passes of `line`, without scope and resource: `None` if it is dropped.
#[track_caller]
fn passed(signal: Signal, yaml: &str, line: &str) -> Option<String> {
    let yaml = format!("{{{yaml}}}");
    let bytes = Bench::new(signal, "probabilistic_sampler", &yaml).pass(request(line));
    let printed = text::print(signal.message(), &bytes);
    printed.lines().nth(2).map(str::to_owned)
}

/// Asserts the tracestate of a span after each mode, or that it is dropped.
#[track_caller]
fn check(yaml: &str, trace_id: &str, before: &str, equalizing: &str, proportional: &str) {
    for (mode, after) in [(EQUALIZING, equalizing), (PROPORTIONAL, proportional)] {
        let yaml = format!("{mode}, fail_closed: false, {yaml}");
        let line = |state: &str| match state {
            "" => format!("span {trace_id}/1"),
            state => format!("span {trace_id}/1 trace_state=\"{state}\""),
        };
        let found = passed(Signal::Traces, &yaml, &line(before));
        let expected = (after != DROPPED).then(|| line(after));
        assert_eq!(found, expected, "{yaml}, {trace_id}, {before}");
    }
}

const DROPPED: &str = "dropped";

#[track_caller]
fn both(yaml: &str, trace_id: &str, before: &str, after: &str) {
    check(yaml, trace_id, before, after, after);
}

#[test]
fn spans_say_the_threshold_that_they_passed() {
    both("sampling_percentage: 100", HALF, "", "ot=th:0");
    both("sampling_percentage: 200", HALF, "", "ot=th:0");
    both("sampling_percentage: 50", HALF, "", "ot=th:8");
    both("sampling_percentage: 49", HALF, "", DROPPED);
    both("sampling_percentage: 25", "ddddddddddddddddddc0000000000000", "", "ot=th:c");
    both("sampling_percentage: 25", "ddddddddddddddddddb0000000000000", "", DROPPED);
    both("sampling_percentage: 1", "a0a0a0a0a0a0a0a0a0fe000000000000", "", "ot=th:fd70a");
    both("sampling_percentage: 50", HALF, "a=b,c=d", "ot=th:8,a=b,c=d");
}

#[test]
fn explicit_randomness_is_used_and_stays_as_it_came() {
    let exact = "sampling_percentage: 1, sampling_precision: 14";
    both(exact, HALF, "ot=rv:FD70A3D70A3D71", "ot=rv:FD70A3D70A3D71;th:fd70a3d70a3d71");
    both(exact, HALF, "ot=rv:FD70A3D70A3D70", DROPPED);
    both(exact, HALF, "ot=rv:fd70B000000000", "ot=rv:fd70B000000000;th:fd70a3d70a3d71");
    let four = "sampling_percentage: 1, sampling_precision: 4";
    both(four, HALF, "ot=rv:FD70A3D70A3D71", "ot=rv:FD70A3D70A3D71;th:fd70a");
    let three = "sampling_percentage: 1, sampling_precision: 3";
    both(three, HALF, "ot=rv:FD70A3D70A3D71", DROPPED);
    let forty = "sampling_percentage: 40, sampling_precision: 3";
    both(forty, HALF, "ot=rv:a0000000000000", "ot=rv:a0000000000000;th:99a");
}

#[test]
fn equalizing_lowers_to_its_share_and_proportional_by_it() {
    let fifty = "sampling_percentage: 50";
    check(
        fifty,
        HALF,
        "ot=rv:90000000000000;th:80000000000000",
        "ot=rv:90000000000000;th:8",
        DROPPED,
    );
    check(
        fifty,
        HALF,
        "ot=rv:c0000000000000;th:8",
        "ot=rv:c0000000000000;th:8",
        "ot=rv:c0000000000000;th:c",
    );
    both("sampling_percentage: 25", HALF, "ot=th:8", DROPPED);
    check("sampling_percentage: 25", &"f".repeat(32), "ot=th:8", "ot=th:c", "ot=th:e");
    let six = "sampling_percentage: 40, sampling_precision: 6";
    check(six, "a0a0a0a0a0a0a0a0a0d0000000000000", "ot=th:8", "ot=th:99999a", "ot=th:cccccd");
    let three = "sampling_percentage: 40, sampling_precision: 3";
    check(three, "a0a0a0a0a0a0a0a0a0b0000000000000", "ot=th:8", "ot=th:99a", DROPPED);
    both(three, "a0a0a0a0a0a0a0a0a080000000000000", "ot=th:8", DROPPED);
    check(fifty, RARE, "a=b,ot=th:c", "a=b,ot=th:c", "ot=th:e,a=b");
    check("sampling_percentage: 0.006103515625", RARE, "ot=th:fffc", "ot=th:fffc", "ot=th:fffffff");
    check(
        "sampling_percentage: 0.0625",
        RARE,
        "ot=th:fffffffffffff8",
        "ot=th:fffffffffffff8",
        DROPPED,
    );
    both("sampling_percentage: 99.99992, sampling_precision: 10", RARE, "", "ot=th:00000cccccccd");
}

#[test]
fn what_cannot_be_sampled_is_kept_or_dropped_as_configured() {
    for (trace_id, before, after) in [
        ("-", "", "ot=th:0"),
        (HALF, "ot=rv:abababababababab", "ot=rv:abababababababab"),
        (HALF, "ot=th:abababababababab", "ot=th:abababababababab"),
        (HALF, "ot=th:-1", "ot=th:-1"),
        ("ffffffffffffffffff70000000000000", "ot=th:8", "ot=th:0"),
        (HALF, "ot=rv:70000000000000;th:8", "ot=rv:70000000000000;th:0"),
    ] {
        both("sampling_percentage: 50", trace_id, before, after);
        for mode in [EQUALIZING, PROPORTIONAL] {
            let yaml = format!("{mode}, sampling_percentage: 100");
            let line = format!("span {trace_id}/1 trace_state=\"{before}\"");
            assert_eq!(passed(Signal::Traces, &yaml, &line), None, "{line}");
        }
    }
}

#[test]
fn a_span_with_priority_passes_or_not_whatever_the_percentage() {
    for mode in ["mode: hash_seed", EQUALIZING, PROPORTIONAL] {
        for (value, at_0, at_100) in [
            ("0", false, false),
            ("0.0", false, false),
            ("\"0.0\"", false, false),
            ("2", true, true),
            ("0.5", true, true),
            ("\"0.5\"", true, true),
            ("-1", false, true),
            ("-0.5", false, true),
            ("\"NaN\"", false, true),
            ("\"x\"", false, true),
            ("true", false, true),
        ] {
            for (percentage, passes) in [(0, at_0), (100, at_100)] {
                let yaml = format!("{mode}, sampling_percentage: {percentage}");
                let line = format!("span {HALF}/1 sampling.priority={value}");
                let found = passed(Signal::Traces, &yaml, &line);
                assert_eq!(found.is_some(), passes, "{yaml}, {line}");
            }
        }
    }
    let line = format!("span {HALF}/1 sampling.priority=2");
    let found = passed(Signal::Traces, "mode: equalizing, sampling_percentage: 1", &line);
    assert_eq!(
        found.as_deref(),
        Some(&*format!("span {HALF}/1 trace_state=\"ot=th:0\" sampling.priority=2"))
    );
    let line = format!("span {RARE}/1 trace_state=\"ot=th:c\" sampling.priority=2");
    let found = passed(Signal::Traces, "mode: equalizing, sampling_percentage: 1", &line);
    assert_eq!(found, Some(line), "a probability is never raised");
}

/// The trace ids 1 to `n`, spread.
fn trace_ids(n: u64) -> Vec<String> {
    let spread = |k: u64| k.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (1..=n).map(|k| format!("{:016x}{:016x}", spread(k), spread(k ^ 0xff00))).collect()
}

/// Which of `ids` pass.
fn passing(yaml: &str, ids: &[String]) -> Vec<bool> {
    let mut bench = Bench::new(Signal::Traces, "probabilistic_sampler", &format!("{{{yaml}}}"));
    let pass = |id: &String| !bench.pass(request(&format!("span {id}/1"))).is_empty();
    ids.iter().map(pass).collect()
}

#[test]
fn what_a_small_percentage_keeps_a_greater_one_keeps_too() {
    let ids = trace_ids(2000);
    for mode in ["hash_seed: 22", EQUALIZING, PROPORTIONAL] {
        let kept = [1, 10, 50, 90].map(|percentage| {
            let yaml = format!("{mode}, sampling_percentage: {percentage}");
            let kept = passing(&yaml, &ids);
            let share = kept.iter().filter(|kept| **kept).count() as f64 / 20.0;
            assert!((share - f64::from(percentage)).abs() < 4.0, "{yaml} keeps {share} %");
            kept
        });
        for two in kept.windows(2) {
            assert!(two[0].iter().zip(&two[1]).all(|(small, great)| *great || !small), "{mode}");
        }
    }
}

#[test]
fn replicas_decide_the_same_and_other_seeds_otherwise() {
    let ids = trace_ids(500);
    let kept = |yaml| passing(yaml, &ids);
    assert_eq!(
        kept("hash_seed: 1, sampling_percentage: 50"),
        kept("hash_seed: 1, sampling_percentage: 50")
    );
    assert_ne!(
        kept("hash_seed: 1, sampling_percentage: 50"),
        kept("hash_seed: 2, sampling_percentage: 50")
    );
}

#[test]
fn hash_seed_says_threshold_and_randomness() {
    for (percentage, threshold) in
        [("100", "0"), ("75", "4"), ("50", "8"), ("25", "c"), ("10", "e668"), ("33.333332", "aaac")]
    {
        let yaml = format!("hash_seed: 4312, sampling_percentage: {percentage}");
        let mut found = 0;
        for id in trace_ids(100) {
            let bytes: Vec<u8> =
                (0..16).map(|k| u8::from_str_radix(&id[2 * k..2 * k + 2], 16).unwrap()).collect();
            let randomness = Randomness::hashed(&bytes, 4312).text();
            if let Some(line) = passed(Signal::Traces, &yaml, &format!("span {id}/1")) {
                let state = format!("trace_state=\"ot=rv:{randomness};th:{threshold}\"");
                assert!(line.ends_with(&state), "{line} {state}");
                found += 1;
            }
        }
        assert!(found > 0);
    }
}

#[test]
fn hash_seed_leaves_alone_what_another_sampler_has_marked() {
    for state in ["ot=th:8", "ot=rv:ffffffffffffff"] {
        let line = format!("span {RARE}/1 trace_state=\"{state}\"");
        assert_eq!(passed(Signal::Traces, "sampling_percentage: 100", &line), None);
        let open = "sampling_percentage: 1, fail_closed: false";
        assert_eq!(passed(Signal::Traces, open, &line), Some(line));
    }
    let open = "sampling_percentage: 50, fail_closed: false";
    let found = passed(Signal::Traces, open, "span -/1");
    assert_eq!(found.as_deref(), Some("span -/1 trace_state=\"ot=th:0\""));
    assert_eq!(passed(Signal::Traces, "sampling_percentage: 50", "span -/1"), None);
}

#[test]
fn records_say_threshold_and_randomness_in_attributes() {
    let hashed = |bytes: &[u8], seed| Randomness::hashed(bytes, seed).text();
    let id: Vec<u8> = [vec![0xfe; 9], vec![0x80, 0, 0, 0, 0, 0, 0]].concat();
    let log = |rest: &str| format!("log {HALF}/- {rest}").trim_end().to_owned();
    let cases = [
        (
            "mode: proportional, sampling_percentage: 100",
            "",
            Some("sampling.threshold=\"0\"".into()),
        ),
        ("mode: proportional, sampling_percentage: 49", "", None),
        (
            "hash_seed: 22, sampling_percentage: 100",
            "k=1",
            Some(format!(
                "k=1 sampling.randomness=\"{}\" sampling.threshold=\"0\"",
                hashed(&id, 22)
            )),
        ),
        (
            "hash_seed: 49, sampling_percentage: 100, attribute_source: record, from_attribute: k",
            "k=\"1234\"",
            Some(format!(
                "k=\"1234\" sampling.randomness=\"{}\" sampling.threshold=\"0\"",
                hashed(b"1234", 49)
            )),
        ),
        (
            "sampling_percentage: 100, attribute_source: record, from_attribute: k",
            "k=12",
            Some(format!(
                "k=12 sampling.randomness=\"{}\" sampling.threshold=\"0\"",
                hashed(b"12", 0)
            )),
        ),
        ("sampling_percentage: 100, attribute_source: record, from_attribute: k", "k=\"\"", None),
        ("sampling_percentage: 100, attribute_source: record, from_attribute: k", "l=1", None),
        ("sampling_percentage: 0", "", None),
        (
            "mode: equalizing, sampling_percentage: 50",
            "sampling.randomness=\"c0000000000000\" sampling.threshold=\"c\"",
            Some("sampling.randomness=\"c0000000000000\" sampling.threshold=\"c\"".into()),
        ),
        (
            "mode: proportional, sampling_percentage: 50",
            "sampling.threshold=\"c\" sampling.randomness=\"f0000000000000\"",
            Some("sampling.threshold=\"e\" sampling.randomness=\"f0000000000000\"".into()),
        ),
        ("mode: equalizing, sampling_percentage: 50", "sampling.threshold=\"c\"", None),
        (
            "mode: equalizing, sampling_percentage: 50, fail_closed: false",
            "sampling.threshold=\"c\"",
            Some("sampling.threshold=\"0\"".into()),
        ),
        (
            "sampling_percentage: 100, fail_closed: false",
            "sampling.randomness=\"f2341234123412\"",
            Some("sampling.randomness=\"f2341234123412\"".into()),
        ),
        ("mode: equalizing, sampling_percentage: 100", "sampling.threshold=\"x\"", None),
    ];
    for (yaml, before, after) in cases {
        let found = passed(Signal::Logs, yaml, &log(before));
        assert_eq!(found, after.map(|after: String| log(&after)), "{yaml}, {before}");
    }
}

#[test]
fn records_without_a_trace_id_go_by_their_attribute() {
    let yaml = "sampling_percentage: 100, from_attribute: k";
    assert!(passed(Signal::Logs, yaml, "log -/- k=0x0102").is_some());
    assert_eq!(passed(Signal::Logs, yaml, "log -/- l=1"), None);
    assert_eq!(passed(Signal::Logs, "sampling_percentage: 100", "log -/- k=1"), None);
}

#[test]
fn a_record_brings_its_own_percentage() {
    let randomness = "sampling.randomness=\"e6147c00000000\"";
    let yaml =
        "mode: equalizing, sampling_percentage: 0, sampling_priority: p, sampling_precision: 6";
    let line = format!("log {HALF}/- {randomness} p=10.125");
    let found = passed(Signal::Logs, yaml, &line);
    assert_eq!(found, Some(format!("{line} sampling.threshold=\"e6147b\"")));
    for (percentage, priority, passes) in [
        (0, "100", true),
        (0, "500", true),
        (0, "50", true),
        (0, "49", false),
        (100, "0", false),
        (100, "0.0", false),
        (100, "1", false),
        (100, "-1", true),
        (0, "-1", false),
        (100, "\"0\"", true),
        (0, "\"100\"", false),
    ] {
        let yaml =
            format!("mode: proportional, sampling_percentage: {percentage}, sampling_priority: p");
        let found = passed(Signal::Logs, &yaml, &format!("log {HALF}/- p={priority}"));
        assert_eq!(found.is_some(), passes, "{percentage} {priority}");
    }
    let yaml = "mode: equalizing, sampling_percentage: 50, sampling_priority: p";
    let line = format!("log {RARE}/- sampling.threshold=\"c\" p=37");
    assert_eq!(passed(Signal::Logs, yaml, &line), Some(line), "a probability is never raised");
}

#[test]
fn what_is_emptied_goes_and_everything_is_counted() {
    let mut bench = Bench::new(
        Signal::Traces,
        "probabilistic_sampler",
        "{mode: equalizing, sampling_percentage: 50}",
    );
    bench.check(
        "resource a=1\nscope \"x\"\nspan 1/1\nscope \"none\"\nresource a=2\nspan 1/2\n\
         resource a=3\nscope \"y\"\nspan 1/3\nspan ff000000000000/4 trace_state=\"ot=th:8\"\n\
         span ff000000000000/5 sampling.priority=0\n",
        "resource a=3\nscope \"y\"\nspan ff000000000000/4 trace_state=\"ot=th:8\"\n",
    );
    let name = "otelcol_processor_probabilistic_sampler_count_traces_sampled";
    assert_eq!(
        bench.metric(
            name,
            "policy=\"trace_id_w3c\",processor=\"probabilistic_sampler\",sampled=\"false\""
        ),
        3
    );
    assert_eq!(bench.metric(name, "sampled=\"true\""), 1);
    assert_eq!(bench.metric(name, "policy=\"sampling_priority\""), 1);
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let refused = |yaml: &str| section("probabilistic_sampler", yaml).expect_err(yaml);
    assert_eq!(
        refused(
            "{sampling_percentage: -1, mode: fast, sampling_precision: 15, \
             attribute_source: record}"
        ),
        "yaml::1:23: sampling_percentage: found -1; write a number of at least 0\n\
         yaml::1:33: mode: found \"fast\"; write one of hash_seed, proportional, equalizing\n\
         yaml::1:59: sampling_precision: found 15; write a whole number from 1 to 14\n\
         yaml::1:81: attribute_source: needs `from_attribute`, the attribute to hash"
    );
    assert_eq!(
        refused("mode: fast"),
        "yaml::1:1: warning: sampling_percentage: is absent, so nothing passes but what has \
         priority\n\
         yaml::1:7: mode: found \"fast\"; write one of hash_seed, proportional, equalizing"
    );
    assert_eq!(
        refused("{sampling_percentage: 1e-20, hash_seed: 1, mode: equalizing}"),
        "yaml::1:23: sampling_percentage: found 0.00000000000000000001; write 0 or at least \
         1.3877787807814457e-15\n\
         yaml::1:41: warning: hash_seed: has no effect in mode equalizing, which does not hash"
    );
}
