//! The notation, printed and read back.

use super::super::check::{Bounds, check};
use super::*;

const BOUNDS: Bounds = Bounds { items: 100, elements: 1000, value_nesting: 32 };

/// `text` is printed as it was written, and is a well-formed request.
#[track_caller]
fn round_trips(message: &'static schema::Message, text: &str) {
    let bytes = parse(text).unwrap();
    check(message, &bytes, &BOUNDS).unwrap();
    assert_eq!(print(message, &bytes), text);
}

#[test]
fn a_span_with_all_it_can_have_round_trips() {
    round_trips(
        &TRACES,
        r#"resource dropped_attributes=2 schema_url="http://r" service.name="planner" k=1
scope "openai_v2" version="1" dropped_attributes=3 schema_url="http://s" a=true
span 1/a1 "chat gpt-4o" kind=client 0..900ms status=error:"boom" n=523 list=["a",1]
  event "gen_ai.content.prompt" @5ms sensitive=true
  event @unix:7 dropped_attributes=4
  link 2/b1 k="v"
  link -/- trace_state="a=b" flags=0x1 dropped_attributes=5 k=null
span 1/a2 parent=a1 "tool" 1500us..2s trace_state="x=y" flags=0x300 status=unset m={"k":{"l":[]}}
span x0102/x03 parent=0 kind=17 -..unix:1 status=ok
span 2/c1 dropped_attributes=1 dropped_events=2 dropped_links=3
span -/- "kind"=1 "a key\n"="\"\\\u001b" d=1.0 e=1e300 f=-0.5 nan=NaN inf=-inf b=0x00ff empty=0x
scope -
resource -
"#,
    );
}

#[test]
fn a_log_record_with_all_it_can_have_round_trips() {
    round_trips(
        &LOGS,
        r#"resource service.name="planner"
scope - schema_url="u"
log 1/a1 info "body text" @5ms event_name="x" k="v"
log 1/- warn3 body={"k":[null,1]} @1s observed=2s severity_text="W" flags=0x1 dropped_attributes=1
log -/- severity99 body=null
log -/-
"#,
    );
}

#[test]
fn what_people_write_is_read() {
    for (written, printed) in [
        ("span 1/a1", "resource -\nscope -\nspan 1/a1\n"),
        ("span 00A/0a1 100..900ms parent=-", "resource -\nscope -\nspan a/a1 100ms..900ms\n"),
        ("# a comment\n\nresource # another\n", "resource\n"),
        ("span 1/2 m={ \"a\" : [ 1 , 2 ] }", "resource -\nscope -\nspan 1/2 m={\"a\":[1,2]}\n"),
    ] {
        assert_eq!(print(&TRACES, &parse(written).unwrap()), printed, "{written}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (text, error) in [
        ("spam", "\"spam\" is no noun"),
        ("span", "ids are missing"),
        ("span zz/1", "\"zz\" is no id"),
        ("span 1/00112233445566778", "is no id"),
        ("event \"e\"", "no span stands before"),
        ("span 1/1\nlog 1/1", "line 2: a request holds spans or log records"),
        ("span 1/1 kind=blue", "\"blue\" is no unspecified, internal"),
        ("span 1/1 what", "\"what\" has no meaning here"),
        ("span 1/1 5..7", "is no time"),
        ("span 1/1 k=", "\"\" is no value"),
        ("span 1/1 k=[1", "a comma or \"]\" is missing"),
        ("span 1/1 \"a\" \"b\"", "a second text"),
        ("span 1/1 \"a", "does not end"),
        ("span 1/1 é=1", "must stand in quotes"),
        ("span 1/1 status=error:x", "is no text in quotes"),
        ("resource - k=1", "\"k=\" has no meaning here"),
    ] {
        let found = parse(text).unwrap_err();
        assert!(found.contains(error), "{text}: {found}");
        assert!(found.starts_with("line "), "{found}");
    }
    let deep = format!("span 1/1 k={}", "[".repeat(100_000));
    assert!(parse(&deep).unwrap_err().contains("too deeply"));
}

#[test]
fn fields_that_are_not_shown_are_named() {
    let mut bytes = vec![];
    super::super::wire::put_message_field(&mut bytes, 1, |out| {
        super::super::wire::put_varint_field(out, 99, 1);
        super::super::wire::put_varint_field(out, 17, 1);
    });
    assert_eq!(print(&TRACES, &bytes), "resource - # not shown: field 99, 17\n");
}
