//! Spans as a tree of lines, with marks at some of them.
//!
//! ```text
//! └─ api: POST /ask  25 ms
//!    └─ worker: process research  1.55 s  ◀ [1] joined
//! ```
//!
//! Of a large trace the marked spans are shown, with what leads to them and a few of those below.

use super::finding::{Id, Row};
use crate::exporters::mask::shown_text;
use crate::exporters::tree::{Place, below, duration};
use std::collections::HashMap;

/// Columns of a line.
pub const WIDTH: usize = 100;

/// Spans that are all shown; of more only those around the marks.
const WHOLE: usize = 40;

/// Children that are shown of a marked span.
const CHILDREN: usize = 3;

/// Levels that are indented; what is deeper stands on the last one.
const INDENTED: usize = 16;

const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// What is drawn.
pub struct Tree<'a> {
    pub rows: Vec<&'a Row>,
    /// Parents that were found for spans that had none here.
    pub parents: HashMap<Id, Id>,
    pub marks: HashMap<Id, String>,
    pub colour: bool,
    /// Columns in front of each line.
    pub indent: usize,
}

impl Tree<'_> {
    /// The lines, each with its end.
    pub fn render(&self) -> String {
        let (heads, children) = self.shape();
        let kept = self.kept(&children);
        let is_kept = |row: &usize| kept.get(*row) == Some(&true);
        let mut out = String::new();
        let mut drawn = vec![false; self.rows.len()];
        let heads: Vec<usize> = heads.into_iter().filter(is_kept).collect();
        let mut places = below(&heads, "");
        while let Some(place) = places.pop() {
            match drawn.get_mut(place.row) {
                Some(drawn) if !*drawn => *drawn = true,
                _ => continue,
            }
            out += &self.line(&place);
            let own = children.get(place.row).map(Vec::as_slice).unwrap_or_default();
            let own: Vec<usize> = own.iter().copied().filter(is_kept).collect();
            places.extend(place.below(&own, INDENTED));
        }
        let more = kept.iter().filter(|kept| !**kept).count();
        if more > 0 {
            let spaces = " ".repeat(self.indent);
            out += &format!("{spaces}… and {more} more span{}\n", if more == 1 { "" } else { "s" });
        }
        out
    }

    fn line(&self, place: &Place) -> String {
        let Some(row) = self.rows.get(place.row) else { return String::new() };
        let front = format!("{}{}{}", " ".repeat(self.indent), place.indent, place.branch());
        let mark = self.marks.get(&row.id).map(|mark| format!("  ◀ {mark}")).unwrap_or_default();
        let lasted = format!("  {}", duration(row.nanos()));
        let width = |text: &str| text.chars().count();
        let room = WIDTH.saturating_sub(width(&front) + width(&lasted) + width(&mark));
        let name = cut(&title(row), room);
        match self.colour && !mark.is_empty() {
            true => format!("{front}{name}{lasted}{YELLOW}{mark}{RESET}\n"),
            false => format!("{front}{name}{lasted}{mark}\n"),
        }
    }

    /// The heads and the children of each row, earlier ones first. Of rows that are each other's
    /// ancestors the first is a head.
    fn shape(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let ids: HashMap<Id, usize> =
            self.rows.iter().enumerate().map(|(k, row)| (row.id, k)).collect();
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|k| self.rows.get(*k).map(|row| row.start));
        let mut children = vec![vec![]; self.rows.len()];
        let mut heads = vec![];
        let mut above: Vec<Option<usize>> = vec![None; self.rows.len()];
        for k in order {
            let Some(row) = self.rows.get(k) else { continue };
            let own = row.parent.map(|parent| (row.id.0, parent));
            let own = own.filter(|id| ids.contains_key(id));
            let parent = own.or_else(|| self.parents.get(&row.id).copied());
            let parent = parent.and_then(|id| ids.get(&id)).copied();
            // The way up from the parent must not lead back here.
            let mut up = parent;
            while let Some(at) = up.filter(|at| *at != k) {
                up = above.get(at).copied().flatten();
            }
            match parent.filter(|_| up.is_none()) {
                Some(parent) => {
                    if let (Some(siblings), Some(mine)) =
                        (children.get_mut(parent), above.get_mut(k))
                    {
                        siblings.push(k);
                        *mine = Some(parent);
                    }
                }
                None => heads.push(k),
            }
        }
        (heads, children)
    }

    /// Which rows are shown.
    fn kept(&self, children: &[Vec<usize>]) -> Vec<bool> {
        let is_marked =
            |k: usize| self.rows.get(k).is_some_and(|row| self.marks.contains_key(&row.id));
        if self.rows.len() <= WHOLE {
            return vec![true; self.rows.len()];
        }
        let mut above: Vec<Option<usize>> = vec![None; self.rows.len()];
        for (k, own) in children.iter().enumerate() {
            for child in own {
                if let Some(parent) = above.get_mut(*child) {
                    *parent = Some(k);
                }
            }
        }
        let mut kept = vec![false; self.rows.len()];
        for k in (0..self.rows.len()).filter(|k| is_marked(*k)) {
            let below = children.get(k).into_iter().flatten().copied().take(CHILDREN);
            let mut up = Some(k);
            while let Some(row) = up {
                match kept.get_mut(row) {
                    Some(kept) if !*kept => *kept = true,
                    _ => break,
                }
                up = above.get(row).copied().flatten();
            }
            below.for_each(|row| kept.get_mut(row).into_iter().for_each(|kept| *kept = true));
        }
        kept
    }
}

/// `service: name`.
pub fn title(row: &Row) -> String {
    let service = if row.service.is_empty() { "no service.name" } else { &row.service };
    format!("{}: {}", shown_text(service.as_bytes()), shown_text(row.name.as_bytes()))
}

/// `text` in at most `room` columns.
pub fn cut(text: &str, room: usize) -> String {
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, parent: u64) -> Row {
        Row {
            id: (1, id),
            parent: (parent != 0).then_some(parent),
            service: "web".to_owned(),
            name: format!("s{id}"),
            start: id * 1_000_000,
            end: id * 1_000_000 + 2_000_000,
            side: Default::default(),
        }
    }

    #[track_caller]
    fn check(rows: &[Row], parents: &[(u64, u64)], marks: &[u64], expected: &str) {
        let rows = rows.iter().collect();
        let parents = parents.iter().map(|(child, parent)| ((1, *child), (1, *parent))).collect();
        let marks = marks.iter().map(|id| ((1, *id), "here".to_owned())).collect();
        let tree = Tree { rows, parents, marks, colour: false, indent: 2 };
        let drawn = tree.render();
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH), "{drawn}");
        assert_eq!(format!("\n{drawn}"), expected);
    }

    #[test]
    fn found_parents_join_and_marks_stand_behind() {
        let rows = [row(1, 0), row(2, 1), row(3, 0), row(4, 9), row(5, 3)];
        let before = "
  ├─ web: s1  2 ms
  │  └─ web: s2  2 ms
  ├─ web: s3  2 ms  ◀ here
  │  └─ web: s5  2 ms
  └─ web: s4  2 ms
";
        check(&rows, &[], &[3], before);
        let after = "
  └─ web: s1  2 ms
     └─ web: s2  2 ms
        ├─ web: s3  2 ms  ◀ here
        │  └─ web: s5  2 ms
        └─ web: s4  2 ms
";
        check(&rows, &[(3, 2), (4, 2)], &[3], after);
    }

    #[test]
    fn a_circle_is_drawn_once() {
        check(&[row(1, 2), row(2, 1)], &[], &[], "\n  └─ web: s2  2 ms\n     └─ web: s1  2 ms\n");
        check(&[row(1, 1)], &[(1, 1)], &[], "\n  └─ web: s1  2 ms\n");
    }

    #[test]
    fn of_a_large_trace_the_surroundings_of_marks_are_drawn() {
        let mut rows: Vec<Row> = (1..=60).map(|id| row(id, u64::from(id > 1))).collect();
        rows.extend((61..=70).map(|id| row(id, 60)));
        let expected = "
  └─ web: s1  2 ms
     └─ web: s60  2 ms  ◀ here
        ├─ web: s61  2 ms
        ├─ web: s62  2 ms
        └─ web: s63  2 ms
  … and 65 more spans
";
        check(&rows, &[], &[60], expected);
    }

    #[test]
    fn long_names_are_cut_before_the_mark() {
        let mut long = row(1, 0);
        long.name = "word ".repeat(16);
        long.service = "word ".repeat(16);
        let tree = Tree {
            rows: vec![&long],
            parents: HashMap::new(),
            marks: HashMap::from([(long.id, "here".to_owned())]),
            colour: false,
            indent: 0,
        };
        let drawn = tree.render();
        assert!(drawn.ends_with("…  2 ms  ◀ here\n") && drawn.trim_end().chars().count() == WIDTH);
    }
}
