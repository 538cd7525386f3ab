//! The W3C `tracestate` of a span, and in it the member `ot` with the sampling threshold `th` and
//! the explicit randomness `rv`. Members of others pass unread; `ot` stands first when it is
//! written, as the recommendation asks of whoever changes a member.

use super::threshold::{Randomness, Threshold};

/// Bytes of a tracestate, and of the member `ot`, that are read. The Collector's bounds.
const LENGTH: usize = 1024;
const OWN_LENGTH: usize = 256;
/// Members of a tracestate, and bytes of a key and a value.
const MEMBERS: usize = 32;
const PART_LENGTH: usize = 256;

/// A tracestate that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceState<'a> {
    /// What `ot` says; the text as it came, for it is not written anew.
    pub threshold: Option<(Threshold, &'a str)>,
    pub randomness: Option<(Randomness, &'a str)>,
    /// The value of `ot` as it came.
    own: &'a str,
    /// Other entries of `ot`: `key:value`.
    own_others: Vec<&'a str>,
    /// Other members: `key=value`.
    others: Vec<&'a str>,
}

impl<'a> TraceState<'a> {
    /// Reads a tracestate; `None` if it is not one, or `ot` not what it should be.
    pub fn parse(text: &'a str) -> Option<TraceState<'a>> {
        let mut state = TraceState::default();
        if text.len() > LENGTH {
            return None;
        }
        let members = text.split(',').map(|member| member.trim_matches([' ', '\t']));
        for (place, member) in members.filter(|member| !member.is_empty()).enumerate() {
            let (key, value) = member.split_once('=')?;
            if place >= MEMBERS || !is_key(key) || !is_value(value) {
                return None;
            }
            match key {
                "ot" => state.read_own(value)?,
                _ => state.others.push(member),
            }
        }
        Some(state)
    }

    fn read_own(&mut self, text: &'a str) -> Option<()> {
        if text.len() > OWN_LENGTH {
            return None;
        }
        self.own = text;
        for entry in text.split(';') {
            let (key, value) = entry.split_once(':')?;
            let mut letters = key.bytes();
            let is_key = letters.next().is_some_and(|first| first.is_ascii_lowercase())
                && letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            let is_value =
                value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            if !is_key || !is_value {
                return None;
            }
            match key {
                "th" => self.threshold = Some((Threshold::parse(value)?, value)),
                "rv" => self.randomness = Some((Randomness::parse(value)?, value)),
                _ => self.own_others.push(entry),
            }
        }
        Some(())
    }

    /// The tracestate with another threshold or randomness in `ot`; `None` if nothing changes.
    pub fn with(
        &self,
        threshold: Option<Threshold>,
        randomness: Option<Randomness>,
    ) -> Option<String> {
        let old = self.randomness.map(|(_, text)| text.to_owned());
        let randomness = randomness.map(Randomness::text).or(old);
        let old = self.threshold.map(|(_, text)| text.to_owned());
        let threshold = threshold.map(Threshold::text).or(old);
        let named = [("rv", randomness), ("th", threshold)];
        let own = named.into_iter().filter_map(|(key, value)| Some(format!("{key}:{}", value?)));
        let own: Vec<String> = own.chain(self.own_others.iter().map(|e| (*e).to_owned())).collect();
        let own = own.join(";");
        if own == self.own {
            return None;
        }
        let own = format!("ot={own}");
        let members = std::iter::once(own.as_str()).chain(self.others.iter().copied());
        Some(members.collect::<Vec<_>>().join(","))
    }
}

/// A simple key, or a tenant's: `tenant@system`.
fn is_key(key: &str) -> bool {
    let rest = |text: &str| {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte)
        };
        text.bytes().skip(1).all(allowed)
    };
    let lowercase = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase());
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    match key.split_once('@') {
        _ if key.len() > PART_LENGTH => false,
        None => lowercase(key) && rest(key),
        Some((tenant, system)) => {
            (lowercase(tenant) || digit(tenant))
                && lowercase(system)
                && tenant.len() <= 241
                && system.len() <= 14
                && rest(tenant)
                && rest(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=';
    (1..=PART_LENGTH).contains(&value.len()) && value.bytes().all(allowed) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn with(before: &str, threshold: &str, randomness: &str, after: Option<&str>) {
        let state = TraceState::parse(before).unwrap_or_else(|| panic!("{before} is well-formed"));
        let found = state.with(Threshold::parse(threshold), Randomness::parse(randomness));
        assert_eq!(found.as_deref(), after, "{before}");
    }

    #[test]
    fn the_own_member_is_written_first_and_others_stay() {
        with("", "8", "", Some("ot=th:8"));
        with("", "8", "9b8233f7e3a151", Some("ot=rv:9b8233f7e3a151;th:8"));
        with("a=b, c=d ,,e@f=g h", "c", "", Some("ot=th:c,a=b,c=d,e@f=g h"));
        with(
            "a=b,ot=th:8;x:y;rv:FD70A3D70A3D71",
            "c",
            "",
            Some("ot=rv:FD70A3D70A3D71;th:c;x:y,a=b"),
        );
        with("ot=th:80000000000000", "8", "", Some("ot=th:8"));
    }

    #[test]
    fn what_does_not_change_stays_where_it_is() {
        with("a=b,ot=th:8", "8", "", None);
        with("a=b,ot=th:80", "", "", None);
        with("a=b", "", "", None);
        with("ot=rv:9b8233f7e3a151;th:8;x:y,a=b", "8", "9b8233f7e3a151", None);
    }

    #[test]
    fn what_is_no_tracestate_is_not_read() {
        for wrong in [
            "a",
            "A=b",
            "1=b",
            "a=",
            "a=b=c",
            "a=\u{e9}",
            "a@1=b",
            "@a=b",
            "ot=th",
            "ot=th:",
            "ot=th:-1",
            "ot=th:8;",
            "ot=th:abababababababab",
            "ot=rv:8",
            "ot=TH:8",
            "ot=x:a+b",
        ] {
            assert_eq!(TraceState::parse(wrong), None, "{wrong}");
        }
        let long = |n: usize| format!("a={}", "b".repeat(n));
        assert!(TraceState::parse(&long(256)).is_some() && TraceState::parse(&long(257)).is_none());
        let many = |n: usize| (0..n).map(|n| format!("a{n}=b")).collect::<Vec<_>>().join(",");
        assert!(TraceState::parse(&many(32)).is_some() && TraceState::parse(&many(33)).is_none());
        let four = [long(256).replace('a', "w"), long(256).replace('a', "x"), long(256), many(32)];
        assert_eq!(TraceState::parse(&four.join(",")), None);
    }
}
