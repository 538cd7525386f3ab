//! Cutting items out of a request, with what changes it: each item is copied once, to where it
//! goes.

use super::edit::Edits;
use super::fields::{request, resource_group, scope_group};
use super::plan::Pass;
use super::wire::{Field, Message};
use bytes::Bytes;
use std::iter::{Copied, Peekable};
use std::slice::Iter;

/// The items at `starts` alone, and what surrounds them, with `edits` in it. They are left out by
/// `edits` from now on, and with them a group of which no item remains. Starts are where messages
/// of items start, in order.
pub fn cut(edits: &mut Edits, request: &Bytes, starts: &[usize]) -> Bytes {
    let mut cutter = Cutter {
        starts: starts.iter().copied().peekable(),
        pass: Pass::new(request, edits.sorted()),
        removals: Edits::default(),
    };
    let root = Message::root(request);
    let mut size = 0;
    for group in root.fields().filter(|field| field.number == request::RESOURCE_GROUPS) {
        if cutter.reaches(&group) {
            size += cutter.resource_group(root, &group);
        }
    }
    let (plan, removals) = (cutter.pass.plan(size), cutter.removals);
    let alone = edits.write(request, &plan);
    edits.add_removals(&removals);
    alone
}

struct Cutter<'a> {
    starts: Peekable<Copied<Iter<'a, usize>>>,
    /// Plans what is cut out.
    pass: Pass<'a>,
    /// What is left out of the rest.
    removals: Edits,
}

/// What is cut out of a scope group.
struct Cut {
    size: usize,
    items: usize,
    /// Whether there are items that are not.
    leaves_some: bool,
}

impl Cutter<'_> {
    /// Whether the next item stands in `field`.
    fn reaches(&mut self, field: &Field<'_>) -> bool {
        self.starts.peek().is_some_and(|start| *start <= field.end)
    }

    /// Cuts a resource group in which the next item stands; the size of what is cut out.
    fn resource_group(&mut self, root: Message<'_>, field: &Field<'_>) -> usize {
        let Some(message) = field.message() else { return 0 };
        let (before, open) = (self.removals.len(), self.pass.open(field.at, field.at));
        let (mut size, mut items, mut leaves_some) = (0, 0, false);
        for part in message.fields() {
            if part.number != resource_group::SCOPE_GROUPS {
                size += self.pass.part(message.start, part.at, part.end);
            } else if self.reaches(&part) {
                let cut = self.scope_group(message, &part);
                size += cut.size;
                items += cut.items;
                leaves_some |= cut.leaves_some;
            } else {
                leaves_some = true;
            }
        }
        size += self.pass.appendices(message.start);
        if !leaves_some {
            self.removals.truncate(before);
            self.removals.remove_items(root, field, items);
        }
        self.pass.close(open, size)
    }

    /// The same of a scope group.
    fn scope_group(&mut self, around: Message<'_>, field: &Field<'_>) -> Cut {
        let mut cut = Cut { size: 0, items: 0, leaves_some: false };
        let Some(message) = field.message() else { return cut };
        let (before, open) = (self.removals.len(), self.pass.open(field.at, field.at));
        for part in message.fields() {
            let item = part.number == scope_group::ITEMS;
            let start = part.end - part.bytes().len();
            if item && self.starts.next_if_eq(&start).is_none() {
                cut.leaves_some = true;
                continue;
            }
            cut.size += self.pass.part(message.start, part.at, part.end);
            if item {
                cut.items += 1;
                self.removals.remove_item(message, &part);
            }
        }
        cut.size += self.pass.appendices(message.start);
        if !cut.leaves_some {
            self.removals.truncate(before);
            self.removals.remove_items(around, field, cut.items);
        }
        cut.size = self.pass.close(open, cut.size);
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::TRACES;
    use super::super::text;
    use super::super::view::Request;
    use super::super::wire::put_bytes_field;
    use super::*;
    use bytes::Bytes;

    const FIVE: &str = "\
resource service.name=\"a\"
scope \"s\"
span 1/1 \"one\"
span 1/2 \"two\"
scope \"t\"
span 1/3 \"three\"
resource service.name=\"b\"
scope \"u\"
span 2/4 \"four\"
span 2/5 \"five\"
scope \"empty\"
";

    /// What remains of five spans, and what of those that are named alone; all names are edited.
    #[track_caller]
    fn check(named: &[&str], others: &[&str], alone: &[&str]) {
        let bytes = Bytes::from(text::parse(FIVE).unwrap());
        let (mut edits, mut starts) = (Edits::default(), vec![]);
        let groups = Request::new(&bytes).resource_groups().flat_map(|g| g.scope_groups());
        for span in groups.flat_map(|group| group.spans()) {
            let name = span.0.field(2 + 3).unwrap();
            let text = String::from_utf8_lossy(name.bytes()).to_uppercase();
            edits.replace(span.0, &name, |out| put_bytes_field(out, 5, text.as_bytes()));
            if named.contains(&text.to_lowercase().as_str()) {
                starts.push(span.0.start);
            }
        }
        let alone_found = cut(&mut edits, &bytes, &starts);
        let rest = edits.apply(&bytes);
        assert_eq!(edits.removed_items(), starts.len());
        let found = [rest, alone_found].map(|bytes| text::print(&TRACES, &bytes));
        let without = |gone: &[&str]| -> String {
            let lines = FIVE.lines().filter(|line| !gone.iter().any(|name| line.contains(name)));
            let upper = |line: &str| match line.starts_with("span") {
                true => {
                    let (start, name) = line.split_at(9);
                    format!("{start}{}\n", name.to_uppercase())
                }
                false => format!("{line}\n"),
            };
            lines.map(upper).collect()
        };
        assert_eq!(found, [without(others), without(alone)], "{named:?}");
    }

    /// A request of random groups, as lines; no two spans have the same id.
    fn random_request(random: &mut fastrand::Rng) -> Vec<String> {
        let (mut lines, mut id) = (vec![], 0);
        for resource in 0..random.usize(1..4) {
            lines.push(format!("resource r={resource}"));
            for scope in 0..random.usize(1..4) {
                lines.push(format!("scope \"{resource}.{scope}\""));
                for _ in 0..random.usize(1..5) {
                    id += 1;
                    lines.push(format!("span 1/{id:x} \"a\" k=1 l=2"));
                }
            }
        }
        lines
    }

    /// Of the lines of a request those whose spans `stay`, and the groups that have some.
    fn with_groups(lines: &[&str], stays: impl Fn(&str) -> bool) -> String {
        let (mut found, mut above) = (String::new(), ["", ""]);
        for line in lines {
            match line.split(' ').next() {
                Some("resource") => above = [line, ""],
                Some("scope") => above[1] = line,
                _ if stays(line) => {
                    let groups = above.iter_mut().map(std::mem::take);
                    groups.filter(|group| !group.is_empty()).chain([*line]).for_each(|line| {
                        found += line;
                        found += "\n";
                    });
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn whatever_is_cut_out_both_parts_are_the_edited_whole() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let bytes = text::parse(&random_request(&mut random).join("\n")).unwrap();
            let bytes = Bytes::from(bytes);
            let (mut edits, mut starts, mut named) = (Edits::default(), vec![], vec![]);
            let share = random.u32(1..9);
            for group in Request::new(&bytes).resource_groups().flat_map(|g| g.scope_groups()) {
                for span in group.spans() {
                    let place = edits.reserve(span.0);
                    for attribute in span.attributes().filter(|_| random.bool()) {
                        edits.remove(span.0, &attribute.field);
                    }
                    let name = span.0.field(5).unwrap();
                    match random.u32(..3) {
                        0 => edits.remove(span.0, &name),
                        1 => edits.replace(span.0, &name, |out| put_bytes_field(out, 5, b"bc")),
                        _ => {
                            edits.fill(place, |out| put_bytes_field(out, 3, b"state"));
                        }
                    }
                    if random.u32(..8) < share {
                        starts.push(span.0.start);
                        named.push(u64::from_be_bytes(span.span_id().try_into().unwrap()));
                    }
                }
            }
            let whole = text::print(&TRACES, &edits.apply(&bytes));
            let alone = text::print(&TRACES, &cut(&mut edits, &bytes, &starts));
            let rest = text::print(&TRACES, &edits.apply(&bytes));
            assert_eq!(edits.removed_items(), starts.len());
            let lines: Vec<&str> = whole.lines().collect();
            let is_cut = |line: &str| {
                let id = line.split(['/', ' ']).nth(2).unwrap();
                named.contains(&u64::from_str_radix(id, 16).unwrap())
            };
            assert_eq!(alone, with_groups(&lines, is_cut));
            assert_eq!(rest, with_groups(&lines, |line| !is_cut(line)));
        }
    }

    #[test]
    fn what_is_appended_to_groups_stands_in_both() {
        let bytes = Bytes::from(text::parse("span 1/1\nspan 1/2").unwrap());
        let (mut edits, mut starts) = (Edits::default(), vec![]);
        for group in Request::new(&bytes).resource_groups() {
            edits.append(group.0, |out| put_bytes_field(out, 3, b"of the resource"));
            for group in group.scope_groups() {
                edits.append(group.0, |out| put_bytes_field(out, 3, b"of the scope"));
                starts.extend(group.spans().next().map(|span| span.0.start));
            }
        }
        let alone = cut(&mut edits, &bytes, &starts);
        for (part, span) in [(alone, "1/1"), (edits.apply(&bytes), "1/2")] {
            let groups = Request::new(&part).resource_groups();
            let urls: Vec<_> = groups
                .flat_map(|group| {
                    let scopes = group.scope_groups().filter_map(|group| group.0.field(3));
                    group.0.field(3).into_iter().chain(scopes).collect::<Vec<_>>()
                })
                .map(|field| field.bytes().to_vec())
                .collect();
            assert_eq!(urls, [&b"of the resource"[..], b"of the scope"]);
            let printed = text::print(&TRACES, &part);
            assert_eq!((printed.matches("span").count(), printed.contains(span)), (1, true));
        }
    }

    #[test]
    fn what_is_cut_out_and_what_remains_are_the_whole() {
        let all =
            ["\"a\"", "\"s\"", "one", "two", "\"t\"", "three", "\"b\"", "\"u\"", "four", "five"];
        let empty = "empty";
        check(&[], &[], &[&all[..], &[empty]].concat());
        check(
            &["two", "three", "four"],
            &["two", "\"t\"", "three", "four"],
            &["one", "five", empty],
        );
        check(
            &["four", "five"],
            &["\"u\"", "four", "five"],
            &["\"a\"", "\"s\"", "one", "two", "\"t\"", "three", empty],
        );
        check(
            &["one", "two", "three"],
            &["\"a\"", "\"s\"", "one", "two", "\"t\"", "three"],
            &["\"b\"", "\"u\"", "four", "five", empty],
        );
    }
}
