//! Golden trees.

use super::tree::{Options, render};
use crate::limits;
use crate::otlp::text;
use bytes::Bytes;

#[track_caller]
fn tree(input: &str, options: &Options) -> String {
    // A backslash goes on with the line.
    let input = input.replace("\\\n", "");
    render(&[Bytes::from(text::parse(&input).expect("the notation"))], options)
}

#[track_caller]
fn check(options: &Options, input: &str, expected: &str) {
    let found = tree(input, options);
    assert_eq!(found.trim_end(), expected.trim(), "\n{found}");
}

const RUN: &str = r#"
resource service.name="gateway"
span 1/a1 "POST /ask" kind=server 0..1200ms user.id="alice" http.request.body="hello there"
resource service.name="planner"
span 1/b1 parent=a1 "invoke_agent planner" kind=internal 10ms..1100ms gen_ai.agent.name="planner"
span 1/b2 parent=b1 "chat gpt-4o" kind=client 20ms..920ms \
status=error:"it said: my card is 4111" gen_ai.usage.input_tokens=523 \
gen_ai.input.messages="[a long prompt]"
  event "gen_ai.content.prompt" @21ms gen_ai.prompt="a prompt" sensitive=true
  event "gen_ai.choice" @900ms
  event "gen_ai.choice" @901ms index=1
resource service.name="tools"
span 1/c1 parent=f9 "execute_tool search" 930ms..1030ms \
app.agent.orphan.signature="tool_call_root" app.agent.orphan.confidence=0.9 x="y"
span 2/d1 "lone" 0..15us dropped_events=2
"#;

#[test]
fn a_run_is_a_tree_of_spans_with_what_is_notable() {
    let expected = "
trace 00000000000000000000000000000001 · 4 spans · 1.20 s
├─ POST /ask  [gateway] server 1.20 s
│  │  user.id=alice
│  └─ invoke_agent planner  [planner] internal 1.09 s
│     │  gen_ai.agent.name=planner
│     └─ chat gpt-4o  [planner] client 900 ms error [24 bytes]
│           gen_ai.usage.input_tokens=523
│           · gen_ai.content.prompt, gen_ai.choice ×2
└─ execute_tool search  [tools] 100 ms (its parent 00000000000000f9 is not here)
      app.agent.orphan.signature=tool_call_root app.agent.orphan.confidence=0.9
trace 00000000000000000000000000000002 · 1 span · 15 µs
└─ lone  [tools] 15 µs
      · 2 events dropped";
    check(&Options::default(), RUN, expected);
}

#[test]
fn detailed_shows_all_attributes_but_never_content() {
    let expected = "
trace 00000000000000000000000000000001 · 4 spans · 1.20 s
├─ POST /ask  [gateway] server 1.20 s
│  │  user.id=alice http.request.body=[11 bytes]
│  └─ invoke_agent planner  [planner] internal 1.09 s
│     │  gen_ai.agent.name=planner
│     └─ chat gpt-4o  [planner] client 900 ms error [24 bytes]
│           gen_ai.usage.input_tokens=523 gen_ai.input.messages=[15 bytes]
│           · gen_ai.content.prompt gen_ai.prompt=[8 bytes] sensitive=true
│           · gen_ai.choice
│           · gen_ai.choice index=1
└─ execute_tool search  [tools] 100 ms (its parent 00000000000000f9 is not here)
      x=y
      app.agent.orphan.signature=tool_call_root app.agent.orphan.confidence=0.9
trace 00000000000000000000000000000002 · 1 span · 15 µs
└─ lone  [tools] 15 µs
      · 2 events dropped";
    check(&Options { detailed: true, ..Options::default() }, RUN, expected);
}

#[test]
fn colours_stand_only_where_they_are_asked_for() {
    let plain = tree(RUN, &Options::default());
    assert!(!plain.contains('\x1b'));
    let options = Options { colour: true, ..Options::default() };
    let coloured = tree(RUN, &options);
    assert!(coloured.contains("\x1b[33mapp.agent.orphan.signature=tool_call_root"), "{coloured}");
    assert!(coloured.contains("\x1b[31m error"), "{coloured}");
}

#[test]
fn spans_that_are_their_own_ancestors_are_shown_once_each() {
    let input = "span 1/a parent=b \"a\"\nspan 1/b parent=a \"b\"\nspan 1/c parent=c \"c\"\n\
        span 1/d parent=a \"d\"\nspan 1/a \"twin\"";
    let found = tree(input, &Options::default());
    for name in ["a", "b", "c", "d", "twin"] {
        assert_eq!(found.matches(&format!("─ {name}  [")).count(), 1, "{name} in\n{found}");
    }
}

#[test]
fn a_deep_chain_and_a_flood_stay_small() {
    let lines: Vec<String> =
        (1..=2000).map(|k| format!("span 1/{k:x} parent={:x} \"s\"", k + 1)).collect();
    let found = tree(&lines.join("\n"), &Options::default());
    assert_eq!(found.lines().filter(|l| l.contains("─ s  [")).count(), limits::TREE_SPANS);
    assert!(found.contains(&format!("… and {} more spans", 2000 - limits::TREE_SPANS)));
    assert!(found.len() < 500 * limits::TREE_SPANS, "{} bytes", found.len());
}

#[test]
fn attributes_of_the_users_choice_are_notable() {
    let options = Options { notable: vec!["customer.tier".to_owned()], ..Options::default() };
    let input = "span 1/a \"a\" customer.tier=\"gold\" other=\"x\"";
    let expected = "
trace 00000000000000000000000000000001 · 1 span · 0 µs
└─ a  [no service.name] 0 µs
      customer.tier=gold";
    check(&options, input, expected);
}

#[test]
fn a_width_wraps_attributes_and_cuts_what_is_longer() {
    let options = Options { width: 40, detailed: true, ..Options::default() };
    let input = "resource service.name=\"s\"\nspan 1/a \"a name that is far too long for it\" \
        first=1 second=\"some more\" third=\"and even more\" \
        x=\"0123456789012345678901234567890123456789\"";
    let expected = "
trace 0000000000000000000000000000000…
└─ a name that is far too long for it  …
      first=1 second=some more
      third=and even more
      x=0123456789012345678901234567890…";
    let found = tree(input, &options);
    assert!(found.lines().all(|line| line.chars().count() <= 40), "{found}");
    let (_, below) = found.split_once('\n').expect("lines");
    let (_, expected) = expected.trim().split_once('\n').expect("lines");
    assert_eq!(below.trim_end(), expected, "\n{found}");
}

#[test]
fn content_is_shown_where_it_is_made_up() {
    let options = Options { content: true, ..Options::default() };
    let input = "span 1/a \"a\" status=error:\"it failed\" user.id=\"alice\"\n\
          event \"gen_ai.content.prompt\" @0s gen_ai.prompt=\"Refund 4111 1111 1111 1111\"";
    let expected = "
trace 00000000000000000000000000000001 · 1 span · 0 µs
└─ a  [no service.name] 0 µs error it failed
      user.id=alice
      · gen_ai.content.prompt gen_ai.prompt=Refund 4111 1111 1111 1111";
    check(&options, input, expected);
}
