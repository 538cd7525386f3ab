//! Cutting items out of a request: what to leave out of it so that some of its items remain, and
//! what so that all others do. Either is a list of removals, to be applied with whatever else
//! changes: each item is copied once, to where it goes.

use super::edit::Edits;
use super::fields::{request, resource_group, scope_group};
use super::wire::{Field, Message};
use std::iter::{Copied, Peekable};
use std::slice::Iter;

/// What to leave out of `request` so that all of it remains but the items at `starts`, and what so
/// that those do alone. Starts are where messages of items start, in order. A group goes of which
/// no item remains that had some.
pub fn cuts(request: &[u8], starts: &[usize]) -> [Edits; 2] {
    let mut cutter =
        Cutter { starts: starts.iter().copied().peekable(), lists: Default::default() };
    let request = Message::root(request);
    let groups = request.fields().filter(|field| field.number == request::RESOURCE_GROUPS);
    for group in groups {
        let before = cutter.marks();
        let remain = cutter.resource_group(group);
        cutter.leave_out(request, group, before, remain);
    }
    cutter.lists
}

struct Cutter<'s> {
    starts: Peekable<Copied<Iter<'s, usize>>>,
    lists: [Edits; 2],
}

impl Cutter<'_> {
    fn marks(&self) -> [usize; 2] {
        self.lists.each_ref().map(Edits::len)
    }

    /// Leaves `group` of `message` out of the lists by which nothing of it is to remain, in place
    /// of its parts.
    fn leave_out(
        &mut self,
        message: Message<'_>,
        group: Field<'_>,
        before: [usize; 2],
        remain: [bool; 2],
    ) {
        for ((list, before), remains) in self.lists.iter_mut().zip(before).zip(remain) {
            if !remains {
                list.truncate(before);
                list.remove(message, &group);
            }
        }
    }

    /// Cuts a resource group; what is to remain of it by each list.
    fn resource_group(&mut self, field: Field<'_>) -> [bool; 2] {
        let Some(message) = field.message() else { return [true, false] };
        let mut remain = None;
        let groups = message.fields().filter(|field| field.number == resource_group::SCOPE_GROUPS);
        for group in groups {
            let before = self.marks();
            let parts = self.scope_group(group);
            self.leave_out(message, group, before, parts);
            let known = remain.unwrap_or([false; 2]);
            remain = Some([known[0] || parts[0], known[1] || parts[1]]);
        }
        remain.unwrap_or([true, false])
    }

    /// The same of a scope group.
    fn scope_group(&mut self, field: Field<'_>) -> [bool; 2] {
        let Some(message) = field.message() else { return [true, false] };
        // Items in a row of which the same becomes are left out together.
        let mut run: Option<(bool, Field<'_>)> = None;
        let mut remain = None;
        for item in message.fields().filter(|field| field.number == scope_group::ITEMS) {
            let start = item.end - item.bytes().len();
            let cut = self.starts.next_if_eq(&start).is_some();
            let known = remain.unwrap_or([false; 2]);
            remain = Some([known[0] || !cut, known[1] || cut]);
            match &mut run {
                Some((cuts, fields)) if *cuts == cut && fields.end == item.at => {
                    fields.end = item.end;
                }
                _ => self.put(message, run.replace((cut, item))),
            }
        }
        self.put(message, run);
        remain.unwrap_or([true, false])
    }

    /// Leaves items in a row out of the list by which they are not to remain.
    fn put(&mut self, message: Message<'_>, run: Option<(bool, Field<'_>)>) {
        if let Some((cut, fields)) = run
            && let Some(list) = self.lists.get_mut(usize::from(!cut))
        {
            list.remove(message, &fields);
        }
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
        let lists = cuts(&bytes, &starts);
        let found = lists.map(|list| text::print(&TRACES, &edits.apply_with(&list, &bytes)));
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
