//! `baggage`: spans in, spans out.

use crate::batch::Signal;
use crate::limits;
use crate::processors::tests::{Bench, check, request, section};
use proptest::prelude::*;

fn rejected(bench: &Bench, reason: &str) -> u64 {
    bench.metric("spanloom_baggage_rejected_members", &format!("reason=\"{reason}\""))
}

#[test]
fn baggage_stands_on_its_span_and_on_the_others_of_the_trace() {
    check(
        "baggage",
        "{}",
        r#"
span 1/a2 parent=a1 "before"
span 1/a1 "entry" baggage="user.id=al,x=1,session.id=s%201;t=5"
span 2/b1 "another trace"
span 1/a3 parent=a1 "after" user.id="bob"
"#,
        r#"
span 1/a2 parent=a1 "before" user.id="al" session.id="s 1"
span 1/a1 "entry" baggage="user.id=al,x=1,session.id=s%201;t=5" user.id="al" session.id="s 1"
span 2/b1 "another trace"
span 1/a3 parent=a1 "after" user.id="bob" session.id="s 1"
"#,
    );
}

#[test]
fn every_place_of_baggage_is_read() {
    for place in [
        r#"baggage="tenant=acme""#,
        r#"http.request.header.baggage="tenant=acme""#,
        r#"http.request.header.baggage=["x=1","tenant=acme"]"#,
        r#"rpc.request.metadata.baggage=["tenant=acme"]"#,
        r#"rpc.grpc.request.metadata.baggage="tenant=acme""#,
        r#"messaging.header.baggage="tenant=acme""#,
        r#"baggage="tenant=first,tenant=acme""#,
        r#"baggage.tenant="acme""#,
    ] {
        let before = format!("span 1/a1 {place}\nspan 1/a2");
        let after = format!("span 1/a1 {place} tenant=\"acme\"\nspan 1/a2 tenant=\"acme\"");
        check("baggage", "{}", &before, &after);
    }
}

#[test]
fn values_are_remembered_for_later_batches() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{ttl: 60s}");
    bench.check(
        "span 1/a1 user.id=\"alice\" gen_ai.conversation.id=\"c\" session.id=7",
        "span 1/a1 user.id=\"alice\" gen_ai.conversation.id=\"c\" session.id=7",
    );
    let known = "user.id=\"alice\" gen_ai.conversation.id=\"c\" session.id=7";
    bench.wait(50);
    bench.check("span 1/a2\nspan 2/b1", &format!("span 1/a2 {known}\nspan 2/b1"));
    bench.wait(50);
    bench.check("span 1/a3", &format!("span 1/a3 {known}"));
    bench.wait(70);
    bench.check_untouched("span 1/a4");
    assert_eq!(bench.metric("spanloom_baggage_forgotten_traces", "cause=\"expired\""), 1);
    assert_eq!(bench.metric("spanloom_baggage_promoted_attributes", ""), 6);
}

#[test]
fn the_first_value_is_the_traces_and_an_item_keeps_its_own() {
    check(
        "baggage",
        "{}",
        r#"
span 1/a1 baggage="tenant=one"
span 1/a2 baggage="tenant=two"
span 1/a3
"#,
        r#"
span 1/a1 baggage="tenant=one" tenant="one"
span 1/a2 baggage="tenant=two" tenant="two"
span 1/a3 tenant="one"
"#,
    );
}

#[test]
fn a_span_without_a_trace_gets_its_own_and_nothing_else() {
    check(
        "baggage",
        "{}",
        "span -/a1 baggage=\"tenant=one\"\nspan -/a2\nspan 0/a3",
        "span -/a1 baggage=\"tenant=one\" tenant=\"one\"\nspan -/a2\nspan 0/a3",
    );
}

#[test]
fn keys_and_prefix_are_configurable() {
    check(
        "baggage",
        "{keys: [team, user.id], prefix: b., plus_as_space: true}",
        "span 1/a1 baggage=\"team=a+b,tenant=t\" user.id=\"u\"\nspan 1/a2 b.team=\"own\"",
        "span 1/a1 baggage=\"team=a+b,tenant=t\" user.id=\"u\" b.user.id=\"u\" b.team=\"a b\"
span 1/a2 b.team=\"own\" b.user.id=\"u\"",
    );
    let many: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    for (yaml, problem) in [
        ("keys: [a, a]".to_owned(), "list each key once"),
        ("keys: [\"\"]".to_owned(), "list each key once"),
        (format!("keys: [{}]", many.join(",")), "at most 32"),
    ] {
        let found = section("baggage", &yaml).map(|_| ()).expect_err("it is wrong");
        assert!(found.contains(problem), "{yaml}: {found}");
    }
}

#[test]
fn hostile_baggage_is_bounded_and_counted() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{max_value_bytes: 4}");
    bench.check_untouched("span 1/a1 baggage=\"user.id=12345,tenant=%zz,tenant.id=,=,a\"");
    bench.check_untouched("span 1/a1 user.id=\"12345\" session.id=[1] tenant=\"\"");
    assert_eq!(rejected(&bench, "too_long"), 2);
    assert_eq!(rejected(&bench, "malformed"), 3);
    let many: Vec<String> = (0..500).map(|n| format!("user.id={n}")).collect();
    let text = format!("span 2/a1 baggage=\"{}\"", many.join(","));
    bench.check(&text, &format!("{text} user.id=\"63\""));
    assert_eq!(rejected(&bench, "beyond_limit"), 436);
}

#[test]
fn the_memory_is_bounded_and_forgets_the_oldest() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{limit_traces: 10}");
    for trace in 1..=1000 {
        let text = format!("span {trace:x}/a1 baggage=\"user.id=u{trace}\"");
        bench.check(&text, &format!("{text} user.id=\"u{trace}\""));
    }
    bench.check_untouched("span 1/a2");
    bench.check("span 3e8/a2", "span 3e8/a2 user.id=\"u1000\"");
    assert_eq!(bench.metric("spanloom_baggage_forgotten_traces", "cause=\"evicted\""), 990);
    assert_eq!(bench.metric("spanloom_baggage_traces", ""), 10);
}

#[test]
fn what_is_added_to_one_request_is_bounded() {
    let keys: Vec<String> = (0..32).map(|n| format!("k{n}")).collect();
    let yaml = format!("{{max_value_bytes: 4096, keys: [{}]}}", keys.join(", "));
    let mut bench = Bench::new(Signal::Traces, "baggage", &yaml);
    let value = "v".repeat(4000);
    let carrier: String = keys.iter().map(|key| format!(" {key}=\"{value}\"")).collect();
    bench.pass(request(&format!("span 1/a1{carrier}")));
    let spans = 2 * (limits::ADDED_BYTES / (32 * 4000));
    let passed = bench.pass(request(&"span 1/a2\n".repeat(spans)));
    assert!(passed.len() < limits::ADDED_BYTES + (1 << 20), "{} bytes", passed.len());
    let promoted = bench.metric("spanloom_baggage_promoted_attributes", "");
    assert_eq!(promoted + rejected(&bench, "beyond_limit"), 32 * spans as u64);
}

#[test]
fn log_records_get_what_records_of_their_trace_carry() {
    let mut bench = Bench::new(Signal::Logs, "baggage", "{}");
    bench.check(
        "log 1/a1 info \"a\"\nlog 1/a1 info \"b\" user.id=\"u\"\nlog -/- info \"c\"",
        "log 1/a1 info \"a\" user.id=\"u\"\nlog 1/a1 info \"b\" user.id=\"u\"\nlog -/- info \"c\"",
    );
}

proptest! {
    #[test]
    fn no_baggage_breaks_a_batch(text: String, header: Vec<String>) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let header: Vec<String> = header.iter().map(|text| quoted(text)).collect();
        let request = request(&format!(
            "span 1/a1 baggage={} http.request.header.baggage=[{}]\nspan 1/a2",
            quoted(&text),
            header.join(","),
        ));
        // The bench asserts that what comes out is well-formed.
        Bench::new(Signal::Traces, "baggage", "{}").pass(request);
    }
}
