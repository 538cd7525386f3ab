//! Texts of errors: what was thrown and where stays, what was said goes.
//!
//! Messages of exceptions and statuses repeat prompts, keys and answers of servers. Kept are the
//! type at the beginning and, of a stack trace, the lines that are frames by their form: file,
//! line and function.

use super::detect::is_word;

/// What stands for what was said.
const GONE: &str = "[removed]";

/// Lines of a stack trace that are kept; deeper ones are recursion.
const FRAMES: usize = 200;

/// `text` without what it says; `None` if there is nothing to take.
pub fn message(text: &[u8]) -> Option<Vec<u8>> {
    let kept = kind(text);
    let rest = text.get(kept.len()..).unwrap_or_default();
    if rest.trim_ascii().is_empty() || rest == format!(": {GONE}").as_bytes() {
        return kept.is_empty().then_some(()).and((!text.is_empty()).then(|| GONE.into()));
    }
    Some(match kept.is_empty() {
        true => GONE.into(),
        false => [kept, b": ", GONE.as_bytes()].concat(),
    })
    .filter(|new| new != text)
}

/// A stack trace without what the exceptions say and without source lines.
pub fn stack(text: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = vec![];
    let mut frames = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if frames < FRAMES && is_frame(line) {
            frames += 1;
            out.extend_from_slice(line);
        } else {
            let kept = kind(line.trim_ascii_start());
            if kept.is_empty() {
                continue;
            }
            out.extend_from_slice(kept);
            if line.len() > kept.len() {
                out.extend_from_slice(b": ");
                out.extend_from_slice(GONE.as_bytes());
            }
        }
        out.push(b'\n');
    }
    out.pop();
    if out.is_empty() && !text.is_empty() {
        out.extend_from_slice(GONE.as_bytes());
    }
    (out != text).then_some(out)
}

/// Endings of the names of exceptions.
const KINDS: [&str; 8] =
    ["Error", "Exception", "Timeout", "Warning", "Interrupt", "Exit", "Fault", "Failure"];

/// The type that `text` begins with, if a colon or nothing follows.
fn kind(text: &[u8]) -> &[u8] {
    let is_name = |byte: &&u8| is_word(**byte) || matches!(**byte, b'.' | b'$');
    let length = text.iter().take_while(is_name).count();
    let (name, rest) = text.split_at_checked(length).unwrap_or_default();
    let ends = rest.is_empty() || rest.starts_with(b":");
    let known = KINDS.iter().any(|kind| name.ends_with(kind.as_bytes()));
    if ends && known && length <= 128 { name } else { &[] }
}

/// Whether the line says where: a frame of Python, JavaScript, Java, .NET, Go or Rust.
fn is_frame(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if text == b"Traceback (most recent call last):" {
        return true;
    }
    if let Some(rest) = text.strip_prefix(b"File \"") {
        let mut parts = rest.splitn(2, |byte| *byte == b'"');
        let (path, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(rest) = rest.strip_prefix(b", line ") else { return false };
        let (digits, rest) = rest.split_at(rest.iter().take_while(|b| b.is_ascii_digit()).count());
        let name = rest.strip_prefix(b", in ");
        return is_path(path) && number(digits) && name.is_none_or(is_symbol);
    }
    if let Some(rest) = text.strip_prefix(b"at ") {
        let rest = rest.strip_prefix(b"async ").unwrap_or(rest);
        let mut parts = rest.splitn(2, |byte| *byte == b'(');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let place = parts.next().map(|place| place.strip_suffix(b")").unwrap_or(place));
        return match place {
            Some(place) => is_symbol(name) && is_path(place),
            None => is_path(name) && name.iter().any(u8::is_ascii_digit),
        };
    }
    if let Some(rest) = text.strip_prefix(b"... ") {
        return rest.strip_suffix(b" more").is_some_and(number);
    }
    // Go: the file stands in a line of its own.
    let mut words = text.split(|byte| *byte == b' ');
    let place = words.next().unwrap_or_default();
    line.starts_with(b"\t/") && is_path(place) && place.contains(&b':') && words.count() <= 1
}

/// The name of a function, with its class, generics and angle brackets.
fn is_symbol(text: &[u8]) -> bool {
    let fits = |byte: &u8| is_word(*byte) || b".$<>/[]:*".contains(byte);
    !text.is_empty() && text.len() <= 200 && text.iter().all(fits)
}

fn is_path(text: &[u8]) -> bool {
    let fits = |byte: &u8| is_word(*byte) || b"./\\:-@+$<>~%".contains(byte);
    text.len() <= 400 && text.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: fn(&[u8]) -> Option<Vec<u8>>, text: &str, expected: &str) {
        let new = change(text.as_bytes()).unwrap_or_else(|| text.into());
        assert_eq!(String::from_utf8(new).unwrap(), expected);
        assert_eq!(change(expected.as_bytes()), None, "a second time changes nothing");
    }

    #[test]
    fn of_a_message_the_type_stays() {
        check(message, "ValueError: CANARY", "ValueError: [removed]");
        check(message, "openai.RateLimitError: CANARY", "openai.RateLimitError: [removed]");
        check(message, "TimeoutError", "TimeoutError");
        check(message, "could not read CANARY", "[removed]");
        check(message, "CANARY Error", "[removed]");
        check(message, "", "");
    }

    #[test]
    fn of_a_stack_trace_types_and_frames_stay() {
        check(
            stack,
            "Traceback (most recent call last):\n  File \"/app/a.py\", line 3, in run\n    \
             ask(\"CANARY\")\nValueError: CANARY\nCANARY",
            "Traceback (most recent call last):\n  File \"/app/a.py\", line 3, in run\n\
             ValueError: [removed]",
        );
        check(
            stack,
            "Error: CANARY\n    at ask (file:///app/a.js:1:2)\n    at async run (a.js:3:4)\n    \
             at a CANARY b",
            "Error: [removed]\n    at ask (file:///app/a.js:1:2)\n    at async run (a.js:3:4)",
        );
        check(
            stack,
            "java.lang.IllegalStateException: CANARY\n\tat a.B.c(B.java:7)\n\t... 12 more",
            "java.lang.IllegalStateException: [removed]\n\tat a.B.c(B.java:7)\n\t... 12 more",
        );
        check(stack, "CANARY", "[removed]");
    }
}
