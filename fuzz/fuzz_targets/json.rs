//! Any text: refused, or a request that passes the check, means the same written again, and is
//! JSON to serde_json too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spanloom::batch::Signal;
use spanloom::otlp::check::{Bounds, check};
use spanloom::otlp::json::{from_json, to_json};

const BOUNDS: Bounds = Bounds { items: 1 << 19, elements: 1 << 22, value_nesting: 32 };

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let signal = Signal::ALL[usize::from(*first) % 3];
    let message = signal.message();
    let Ok(bytes) = from_json(message, text, &BOUNDS) else { return };
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(text) {
        // Numbers under unknown keys are not converted, and depth is counted otherwise.
        let error = error.to_string();
        let known = ["out of range", "recursion limit"].iter().any(|known| error.contains(known));
        assert!(known, "accepted: {error}");
    }
    let tally = check(message, &bytes, &BOUNDS).unwrap();
    assert!(!tally.repeated_singular);
    let json = to_json(message, &bytes);
    serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    let again = from_json(message, &json, &BOUNDS).unwrap();
    assert_eq!(to_json(message, &again), json);
});
