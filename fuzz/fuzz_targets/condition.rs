//! Any text as a condition: refused with a place in the text, or it prints and reads as itself,
//! and can be asked about an item.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanloom::condition::{Conditions, Context, parse};
use spanloom::otlp::text;
use spanloom::otlp::view::{Request, Span};
use std::sync::LazyLock;

/// A span with a value of each type, and an event.
static SPAN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = r#"
resource a="x"
scope "s" a=1
span 1/2 parent=3 "name" kind=client 0..9ms trace_state="k=v" status=error:"boom" a="x" i=1 d=1.5 b=true n=null l=["x",1] m={"k":{"k":1}} r=0x0a
  event "e" @1ms a=2
"#;
    text::parse(text).unwrap()
});

/// A log record with a map for a body.
static LOG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    text::parse(r#"log 1/2 warn body={"k":[1,"x"]} @5ms severity_text="w" a="x""#).unwrap()
});

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            // Printing may add blanks and quotes, and the length is bounded.
            if printed.len() <= spanloom::limits::CONDITION_BYTES {
                assert_eq!(parse(&printed).unwrap(), expr, "{printed}");
            }
        }
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).unwrap();
            assert!(error.column <= line.chars().count() + 1, "{error}");
        }
    }
    for context in Context::ALL {
        let Ok(conditions) = Conditions::compile(context, &[text]) else { continue };
        let bytes = if context == Context::Log { &LOG } else { &SPAN };
        let mut row = conditions.row();
        for group in Request::new(bytes).resource_groups() {
            conditions.resource(&mut row, group);
            for scope in group.scope_groups() {
                conditions.scope(&mut row, scope);
                for item in scope.item_fields().filter_map(|field| field.message()) {
                    conditions.item(&mut row, item);
                    for (index, event) in Span(item).events().enumerate() {
                        conditions.event(&mut row, event.0, index);
                    }
                    let _ = conditions.holds(0, &row);
                }
            }
        }
    }
});
