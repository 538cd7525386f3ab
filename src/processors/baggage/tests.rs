//! `baggage`: spans in, spans out.

use super::DEFAULT_KEYS;
use super::reading::{CAPTURED, DIALECTS, PREFIXES, Source};
use crate::batch::Signal;
use crate::limits;
use crate::moment::Moment;
use crate::processors::fragments::Place;
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
        let child = "span 1/a2 parent=a1";
        let before = format!("span 1/a1 {place}\n{child}");
        let after = format!("span 1/a1 {place} tenant=\"acme\"\n{child} tenant=\"acme\"");
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
    let span = "span 1/a2 parent=a1";
    bench.check(&format!("{span}\nspan 2/b1"), &format!("{span} {known}\nspan 2/b1"));
    bench.wait(50);
    let span = "span 1/a3 parent=unseen";
    let span = span.replace("unseen", "99");
    bench.check(&span, &format!("{span} {known}"));
    bench.wait(70);
    bench.check_untouched("span 1/a4 parent=a1");
    assert_eq!(bench.metric("spanloom_baggage_forgotten_traces", "cause=\"expired\""), 1);
    assert_eq!(bench.metric("spanloom_baggage_promoted_attributes", ""), 6);
}

#[test]
fn in_the_scope_of_a_trace_the_first_value_is_the_traces_and_an_item_keeps_its_own() {
    check(
        "baggage",
        "{scope: trace}",
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
        "span 1/a1 baggage=\"team=a+b,tenant=t\" user.id=\"u\"\nspan 1/a2 parent=a1 b.team=\"own\"",
        "span 1/a1 baggage=\"team=a+b,tenant=t\" user.id=\"u\" b.user.id=\"u\" b.team=\"a b\"
span 1/a2 parent=a1 b.team=\"own\" b.user.id=\"u\"",
    );
    let many: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    for (yaml, problem) in [
        ("keys: [a, a]".to_owned(), "list each key once"),
        ("keys: [\"\"]".to_owned(), "list each key once"),
        (format!("keys: [{}]", many.join(",")), "at most 32"),
        ("{keys: [a], targets: {b: c}}".to_owned(), "which `keys` does not list"),
        ("{keys: [a], targets: {a: \"\"}}".to_owned(), "give one"),
        (
            "sources: [headers]".to_owned(),
            "the sources are attributes, baggage, resource, metadata",
        ),
        ("overwrite: true".to_owned(), "must be false"),
        ("include_metadata: true".to_owned(), "list `metadata` in `sources`"),
        ("metadata: {x-user: user.id}".to_owned(), "list `metadata` in `sources` too"),
        ("{sources: [metadata], metadata: {x-user: uid}}".to_owned(), "`keys` does not list"),
        ("{sources: [metadata], metadata: {x-token: user.id}}".to_owned(), "credentials do not"),
    ] {
        let found = section("baggage", &yaml).map(|_| ()).expect_err("it is wrong");
        assert!(found.contains(problem), "{yaml}: {found}");
    }
}

#[test]
fn the_page_for_users_names_what_is_read_and_what_bounds_it() {
    let page = include_str!("../../../docs/baggage.md");
    let names = CAPTURED.iter().chain(DEFAULT_KEYS).copied();
    let names = names.chain(PREFIXES.iter().copied().filter(|prefix| !prefix.is_empty()));
    let names = names.chain(DIALECTS.iter().flat_map(|(_, names)| names.iter().copied()));
    for name in names.chain(Source::NAMES.iter().map(|(name, _)| *name)) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let number = |n: i64| match n {
        1000.. => format!("{},{:03}", n / 1000, n % 1000),
        n => n.to_string(),
    };
    for bound in [
        limits::BAGGAGE_MEMBERS as i64,
        limits::BAGGAGE_BYTES as i64,
        limits::BAGGAGE_VALUE_BYTES,
        limits::BAGGAGE_VALUES,
        limits::BAGGAGE_SPANS as i64,
        limits::BAGGAGE_TRACES,
        limits::METADATA_HEADERS as i64,
    ] {
        assert!(
            page.contains(&format!(" {} ", number(bound)))
                || page.contains(&format!("({})", number(bound))),
            "{bound}"
        );
    }
}

#[test]
fn hostile_baggage_is_bounded_and_counted() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{max_value_bytes: 4}");
    bench.check_untouched("span 1/a1 baggage=\"user.id=12345,tenant=%zz,tenant.id=,=,a\"");
    bench.check_untouched("span 1/a1 user.id=\"12345\" session.id=[1] tenant=\"\"");
    assert_eq!(rejected(&bench, "too_long"), 2);
    assert_eq!(rejected(&bench, "malformed"), 3);
    bench.check_untouched("span 1/a1 user.id=\"a\\nb\" langfuse.session.id=\"\\u0007\"");
    assert_eq!(rejected(&bench, "malformed"), 5);
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
    bench.check_untouched("span 1/a2 parent=a1");
    bench.check("span 3e8/a2 parent=a1", "span 3e8/a2 parent=a1 user.id=\"u1000\"");
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
    let passed = bench.pass(request(&"span 1/a2 parent=a1\n".repeat(spans)));
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

#[test]
fn log_records_get_what_their_span_has() {
    let mut spans = Bench::new(Signal::Traces, "baggage", "{}");
    let mut logs = spans.beside(Signal::Logs, "baggage", "{}");
    logs.check_untouched("log 1/a2 info \"too early\"");
    spans.check(
        "span 1/a1 user.id=\"al\"\nspan 1/a2 parent=a1 tenant=\"t\"\nspan 1/a3 parent=a1",
        "span 1/a1 user.id=\"al\"\nspan 1/a2 parent=a1 tenant=\"t\" user.id=\"al\"
span 1/a3 parent=a1 user.id=\"al\"",
    );
    logs.check(
        "log 1/a2 info \"a\"\nlog 1/a1 info \"b\" session.id=\"own\"\nlog 1/a1 info \"c\"
log 1/- info \"of the trace\"\nlog 1/a2 info \"d\" user.id=\"bob\"\nlog 2/a1 info \"another\"",
        "log 1/a2 info \"a\" user.id=\"bob\" tenant=\"t\"
log 1/a1 info \"b\" session.id=\"own\" user.id=\"al\"
log 1/a1 info \"c\" session.id=\"own\" user.id=\"al\"
log 1/- info \"of the trace\" user.id=\"al\"
log 1/a2 info \"d\" user.id=\"bob\" tenant=\"t\"\nlog 2/a1 info \"another\"",
    );
    logs.check("log 1/a1 info \"e\"", "log 1/a1 info \"e\" session.id=\"own\" user.id=\"al\"");
    // What records carry is not the span's, nor that of those below it.
    spans.check("span 1/a4 parent=a2", "span 1/a4 parent=a2 tenant=\"t\" user.id=\"al\"");
    assert_eq!(spans.metric("spanloom_baggage_traces", ""), 1);
}

#[test]
fn two_users_of_a_trace_stay_apart_in_its_log_records_too() {
    let mut spans = Bench::new(Signal::Traces, "baggage", "{}");
    let mut logs = spans.beside(Signal::Logs, "baggage", "{}");
    spans.pass(request(
        "span 1/c1\nspan 1/a1 parent=c1 user.id=\"al\"\nspan 1/a2 parent=a1
span 1/b1 parent=c1 user.id=\"bob\"\nspan 1/b2 parent=b1",
    ));
    logs.check(
        "log 1/a2 info \"\"\nlog 1/b2 info \"\"
log 1/c1 info \"\"\nlog 1/- info \"\"\nlog 1/d1 info \"\"",
        "log 1/a2 info \"\" user.id=\"al\"\nlog 1/b2 info \"\" user.id=\"bob\"
log 1/c1 info \"\"\nlog 1/- info \"\"\nlog 1/d1 info \"\"",
    );
}

#[test]
fn in_the_scope_of_a_trace_log_records_and_spans_are_alike() {
    let mut spans = Bench::new(Signal::Traces, "baggage", "{scope: trace}");
    let mut logs = spans.beside(Signal::Logs, "baggage", "{scope: trace}");
    logs.pass(request("log 1/a1 info \"\" tenant=\"t\""));
    spans.check("span 1/b1 user.id=\"u\"", "span 1/b1 user.id=\"u\" tenant=\"t\"");
    logs.check("log 1/c1 info \"\"", "log 1/c1 info \"\" tenant=\"t\" user.id=\"u\"");
}

#[test]
fn a_fragment_of_another_trace_inherits_from_the_span_that_it_belongs_below() {
    let mut spans = Bench::new(Signal::Traces, "baggage", "{}");
    let mut logs = spans.beside(Signal::Logs, "baggage", "{}");
    spans.pass(request(
        "span 1/c1\nspan 1/a1 parent=c1 user.id=\"al\"\nspan 1/b1 parent=c1 user.id=\"bob\"",
    ));
    spans.check_untouched("span 2/e1\nspan 2/e2 parent=e1");
    let key = |id: u64| u64::from_be(id);
    let above = Place { trace: u128::from_be(1), span: key(0xa1) };
    spans.fragments().join(u128::from_be(2), above, Moment::default());
    spans.check(
        "span 2/e1\nspan 2/e2 parent=e1\nspan 2/e3 parent=ff\nspan 2/e4 parent=e1 user.id=\"own\"
span 2/e5 parent=e4\nspan 3/e1",
        "span 2/e1 user.id=\"al\"\nspan 2/e2 parent=e1 user.id=\"al\"
span 2/e3 parent=ff user.id=\"al\"\nspan 2/e4 parent=e1 user.id=\"own\"
span 2/e5 parent=e4 user.id=\"own\"\nspan 3/e1",
    );
    logs.check("log 2/e2 info \"\"", "log 2/e2 info \"\" user.id=\"al\"");
    spans.check("span 2/e6 parent=e5", "span 2/e6 parent=e5 user.id=\"own\"");
    // In one batch whatever stands first.
    let below = Place { trace: u128::from_be(6), span: key(0xa1) };
    spans.fragments().join(u128::from_be(5), below, Moment::default());
    spans.check(
        "span 5/e1\nspan 6/a1 user.id=\"al\"\nspan 5/e2 parent=e1",
        "span 5/e1 user.id=\"al\"\nspan 6/a1 user.id=\"al\"\nspan 5/e2 parent=e1 user.id=\"al\"",
    );
    // A trace cannot be below itself, whatever is said of it.
    let itself = Place { trace: u128::from_be(4), span: key(0xa1) };
    spans.fragments().join(u128::from_be(4), itself, Moment::default());
    spans.check_untouched("span 4/a1\nspan 4/a2 parent=a1");
}

#[test]
fn values_go_down_and_stay_in_their_subtree() {
    check(
        "baggage",
        "{}",
        r#"
span 1/a4 parent=a3
span 1/b2 parent=b1
span 1/a3 parent=a1
span 1/a1 parent=c1 user.id="alice"
span 1/b1 parent=c1 baggage="user.id=bob"
span 1/c1
span 1/d1 parent=ff
"#,
        r#"
span 1/a4 parent=a3 user.id="alice"
span 1/b2 parent=b1 user.id="bob"
span 1/a3 parent=a1 user.id="alice"
span 1/a1 parent=c1 user.id="alice"
span 1/b1 parent=c1 baggage="user.id=bob" user.id="bob"
span 1/c1
span 1/d1 parent=ff
"#,
    );
}

#[test]
fn without_a_window_nothing_is_guessed() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{}");
    bench.check_untouched("span 1/a2 parent=a1");
    bench.check("span 1/a1 parent=c1 user.id=\"u\"", "span 1/a1 parent=c1 user.id=\"u\"");
    bench.check_untouched("span 1/a4 parent=a3");
    bench.check("span 1/a3 parent=a1", "span 1/a3 parent=a1 user.id=\"u\"");
    bench.check("span 1/a5 parent=a3", "span 1/a5 parent=a3 user.id=\"u\"");
    bench.check("span 1/c1 tenant=\"t\"", "span 1/c1 tenant=\"t\"");
    // All are below the only root; of two roots nobody knows which.
    bench.check("span 1/a6 parent=ff", "span 1/a6 parent=ff tenant=\"t\"");
    bench.check_untouched("span 1/c2");
    bench.check_untouched("span 1/a7 parent=fe");
}

#[test]
fn circles_and_repeated_ids_do_no_harm() {
    check(
        "baggage",
        "{}",
        "span 1/a1 parent=a2\nspan 1/a2 parent=a1\nspan 1/a3 parent=a3 user.id=\"u\"
span 1/a4 parent=a3
span 1/a5 parent=a6\nspan 1/a5 parent=a6 user.id=\"v\"\nspan 1/a7 parent=a5",
        "span 1/a1 parent=a2\nspan 1/a2 parent=a1\nspan 1/a3 parent=a3 user.id=\"u\"
span 1/a4 parent=a3 user.id=\"u\"
span 1/a5 parent=a6\nspan 1/a5 parent=a6 user.id=\"v\"\nspan 1/a7 parent=a5 user.id=\"v\"",
    );
}

#[test]
fn the_dialects_of_frameworks_are_read() {
    for (place, attribute) in [
        (r#"langfuse.user.id="u""#, "user.id"),
        (r#"langfuse_session_id="u""#, "session.id"),
        (r#"traceloop.association.properties.user_id="u""#, "user.id"),
        (r#"traceloop.association.properties.tenant="u""#, "tenant"),
        (r#"ai.telemetry.metadata.sessionId="u""#, "session.id"),
        (r#"gcp.vertex.agent.session_id="u""#, "session.id"),
        (r#"langsmith.metadata.thread_id="u""#, "gen_ai.conversation.id"),
        (r#"baggage="langfuse_user_id=u""#, "user.id"),
    ] {
        let line = format!("span 1/a1 {place}");
        check("baggage", "{}", &line, &format!("{line} {attribute}=\"u\""));
    }
}

#[test]
fn the_first_source_that_has_a_value_wins_and_resources_come_last() {
    let line = "span 1/a1 baggage=\"user.id=b\" langfuse.user.id=\"a\"";
    check("baggage", "{}", line, &format!("{line} user.id=\"a\""));
    check("baggage", "{sources: [baggage]}", line, &format!("{line} user.id=\"b\""));
    let yaml = "{sources: [baggage, attributes], targets: {user.id: app.user}}";
    check("baggage", yaml, line, &format!("{line} app.user=\"b\""));
    let resource = "resource user.id=\"r\"\nscope -\n";
    let other = "resource -\nscope -\n";
    check(
        "baggage",
        "{sources: [baggage, resource]}",
        &format!(
            "{resource}{line}\nspan 1/a2 parent=a1\nspan 1/a3 parent=ff\n{other}span 1/a4 parent=a3"
        ),
        &format!(
            "{resource}{line} user.id=\"b\"\nspan 1/a2 parent=a1 user.id=\"b\"\n\
             span 1/a3 parent=ff user.id=\"b\"\n{other}span 1/a4 parent=a3 user.id=\"b\""
        ),
    );
    check(
        "baggage",
        "{sources: [resource]}",
        &format!("{resource}span 1/a3 parent=ff\n{other}span 1/a4 parent=a3"),
        &format!(
            "{resource}span 1/a3 parent=ff user.id=\"r\"\n{other}span 1/a4 parent=a3 user.id=\"r\""
        ),
    );
}

#[test]
fn two_keys_may_become_one_attribute() {
    let yaml = "{keys: [uid, userId], targets: {uid: user.id, userId: user.id}}";
    let line = "span 1/a1 baggage=\"userId=u\"";
    check("baggage", yaml, line, &format!("{line} user.id=\"u\""));
}

#[test]
fn different_values_are_bounded_for_a_time() {
    let mut bench = Bench::new(Signal::Traces, "baggage", "{limit_values: 3, ttl: 60s}");
    let line = |n: usize| format!("span {n:x}/a1 baggage=\"user.id=u{n}\"");
    for n in 1..=10 {
        let promoted = if n <= 3 { format!(" user.id=\"u{n}\"") } else { String::new() };
        bench.check(&line(n), &(line(n) + &promoted));
    }
    assert_eq!(rejected(&bench, "too_many_values"), 7);
    bench.wait(60);
    bench.check(&line(11), &(line(11) + " user.id=\"u11\""));
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
