//! Recognising names: a fixed set of attribute keys or event names, looked up at every attribute.
//!
//! The first eight bytes of a name select a bucket in a small hashed table; most names that are
//! none of ours end there, after one multiplication and one comparison. The patterns of a bucket
//! are tried in the order in which they were given, so exceptions stand before what they except;
//! the next eight bytes rule most of them out.

/// What a name must look like.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// How it begins, or the whole of it.
    start: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The start is all there is.
    Exact,
    /// Anything may follow.
    Prefix,
    /// A digit follows, and then anything.
    Indexed,
    /// Anything may follow that ends so.
    Ends(Vec<u8>),
}

impl Pattern {
    /// Just `name`.
    pub fn exact(name: &str) -> Pattern {
        Pattern { start: name.into(), kind: Kind::Exact }
    }

    /// A pattern of a table: `a.b` that name, `a.*` what begins so, `a.#` what begins so and goes
    /// on with a digit, `a.*.b` what begins and ends so. What stands before the first of these
    /// signs must be eight bytes long at least, or the pattern matches nothing.
    pub fn table(text: &str) -> Pattern {
        if let Some(start) = text.strip_suffix('#') {
            return Pattern { start: start.into(), kind: Kind::Indexed };
        }
        match text.split_once('*') {
            None => Pattern::exact(text),
            Some((start, "")) => Pattern { start: start.into(), kind: Kind::Prefix },
            Some((start, end)) => Pattern { start: start.into(), kind: Kind::Ends(end.into()) },
        }
    }

    #[inline]
    fn matches(&self, name: &[u8]) -> bool {
        match &self.kind {
            Kind::Exact => name == self.start,
            Kind::Prefix => name.starts_with(&self.start),
            Kind::Indexed => {
                let rest = name.strip_prefix(self.start.as_slice());
                rest.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
            }
            Kind::Ends(end) => {
                let rest = name.strip_prefix(self.start.as_slice());
                rest.is_some_and(|rest| rest.ends_with(end))
            }
        }
    }
}

/// Patterns, and what each stands for.
#[derive(Debug)]
pub struct Names<T> {
    /// Open addressing by the head's hash; a power of two long, at most a quarter full.
    buckets: Vec<Bucket>,
    /// Bits of the hash that select a bucket.
    bits: u32,
    /// By bucket, in the order given.
    rules: Vec<Rule<T>>,
}

/// A pattern, and what the second eight bytes of a name must be, as far as it says.
#[derive(Debug)]
struct Rule<T> {
    next: u64,
    mask: u64,
    pattern: Pattern,
    meaning: T,
}

/// The rules whose patterns begin with the same eight bytes: a range of `rules`, empty if free.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    head: u64,
    from: u32,
    to: u32,
}

impl<T: Copy> Names<T> {
    /// The table of these patterns. Of several that match a name, the first one given counts.
    pub fn new(patterns: impl IntoIterator<Item = (Pattern, T)>) -> Names<T> {
        let mut rules: Vec<(Pattern, T)> = patterns.into_iter().collect();
        rules.sort_by_key(|(pattern, _)| head(&pattern.start));
        let heads = rules.chunk_by(|a, b| head(&a.0.start) == head(&b.0.start)).count();
        let bits = (heads.max(1) * 4).next_power_of_two().trailing_zeros();
        let buckets = vec![Bucket::default(); 1 << bits];
        let mut names = Names { buckets, bits, rules: vec![] };
        let mut from = 0;
        for same in rules.chunk_by(|a, b| head(&a.0.start) == head(&b.0.start)) {
            let to = from + same.len();
            let head = same.first().map_or(0, |(pattern, _)| head(&pattern.start));
            let mut at = names.place(head);
            while names.buckets.get(at).is_some_and(|b| b.to > 0) {
                at = (at + 1) & (names.buckets.len() - 1);
            }
            if let Some(bucket) = names.buckets.get_mut(at) {
                *bucket = Bucket { head, from: from as u32, to: to as u32 };
            }
            from = to;
        }
        let rule = |(pattern, meaning): (Pattern, T)| {
            let told = pattern.start.len().saturating_sub(8).min(8) as u32;
            let mask = u64::MAX.checked_shr(64 - 8 * told).unwrap_or(0);
            Rule { next: next(&pattern.start), mask, pattern, meaning }
        };
        names.rules = rules.into_iter().map(rule).collect();
        names
    }

    /// What `name` stands for.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<T> {
        self.at(self.number(name))
    }

    /// The number of the pattern that matches `name`; 0 if none does.
    #[inline]
    pub fn number(&self, name: &[u8]) -> u16 {
        let head = head(name);
        let mut at = self.place(head);
        while let Some(bucket) = self.buckets.get(at).filter(|bucket| bucket.to > 0) {
            if bucket.head == head {
                let next = next(name);
                let range = bucket.from as usize..bucket.to as usize;
                let mut rules = range.clone().zip(self.rules.get(range).unwrap_or_default());
                let found = rules
                    .find(|(_, rule)| next & rule.mask == rule.next && rule.pattern.matches(name));
                return found.map_or(0, |(place, _)| place as u16 + 1);
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
        0
    }

    /// What the names stand for that match the pattern of this number.
    #[inline]
    pub fn at(&self, number: u16) -> Option<T> {
        Some(self.rules.get(usize::from(number).checked_sub(1)?)?.meaning)
    }

    #[inline]
    fn place(&self, head: u64) -> usize {
        (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits)) as usize
    }
}

/// The first eight bytes of a name, zeros behind a shorter one.
#[inline]
fn head(name: &[u8]) -> u64 {
    if let Some(head) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*head);
    }
    let mut padded = [0; 8];
    padded.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(padded)
}

/// The second eight bytes of a name, zeros behind a shorter one.
#[inline]
fn next(name: &[u8]) -> u64 {
    match name.get(8..) {
        Some(rest) => head(rest),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &[&str], name: &str, expected: Option<usize>) {
        let rules = table.iter().enumerate().map(|(n, text)| (Pattern::table(text), n));
        assert_eq!(Names::new(rules).find(name.as_bytes()), expected, "{name} in {table:?}");
    }

    #[test]
    fn a_name_is_found_by_the_first_pattern_that_matches() {
        let table = [
            "gen_ai.prompt.name",
            "gen_ai.prompt",
            "gen_ai.prompt.#",
            "gen_ai.completion*",
            "langfuse.*.input",
            "a",
            "",
            "langfuse.*",
        ];
        check(&table, "gen_ai.prompt.name", Some(0));
        check(&table, "gen_ai.prompt", Some(1));
        check(&table, "gen_ai.prompt.0.content", Some(2));
        check(&table, "gen_ai.prompt.", None);
        check(&table, "gen_ai.prompts", None);
        check(&table, "gen_ai.completion", Some(3));
        check(&table, "gen_ai.completion.0", Some(3));
        check(&table, "gen_ai.provider.name", None);
        check(&table, "langfuse.trace.input", Some(4));
        check(&table, "langfuse.trace.name", Some(7));
        check(&table, "langfuse", None);
        check(&table, "a", Some(5));
        check(&table, "b", None);
        check(&table, "", Some(6));
        check(&[], "", None);
        check(&[], "gen_ai.prompt", None);
    }

    #[test]
    fn many_names_share_the_table_without_being_confused() {
        let names: Vec<String> = (0..500).map(|n| format!("{}.name", n * 7)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (n, name) in names.iter().enumerate() {
            check(&names, name, Some(n));
            check(&names, &format!("{name}s"), None);
        }
    }
}
