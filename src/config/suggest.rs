//! Did-you-mean: the nearest of the valid names.

/// `; did you mean "timeout"?` where one of `valid` is near `found`, else the list of them. `noun`
/// says what they are, `valid keys`.
pub(super) fn hint(found: &str, valid: &[&str], noun: &str) -> String {
    match nearest(found, valid) {
        Some(name) => format!("; did you mean {name:?}?"),
        None if valid.is_empty() => format!("; there are no {noun}"),
        None => format!("; {noun} are {}", valid.join(", ")),
    }
}

/// The valid name with the fewest edits from `found`, if a typing mistake explains them: at most
/// a third of the letters, and at least one edit is always allowed.
fn nearest<'a>(found: &str, valid: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase();
    let allowed = (found.chars().count().min(SHOWN) / 3).max(1);
    valid
        .iter()
        .map(|name| (distance(&found, &name.to_lowercase()), *name))
        .filter(|(edits, name)| *edits <= allowed && *edits < name.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Names longer than this are not compared: nobody mistypes a page.
const SHOWN: usize = 64;

/// Edits between two names: insert, delete, replace, and swap of neighbours count one each.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(SHOWN).collect();
    let b: Vec<char> = b.chars().take(SHOWN).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replace = last[j] + usize::from(x != y);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &str, valid: &[&str], expected: &str) {
        assert_eq!(hint(found, valid, "valid keys"), expected);
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_lists_the_valid_ones() {
        let keys = ["timeout", "endpoint", "tls"];
        check("timeuot", &keys, "; did you mean \"timeout\"?");
        check("Endpoint", &keys, "; did you mean \"endpoint\"?");
        check("tsl", &keys, "; did you mean \"tls\"?");
        check("verbosity", &keys, "; valid keys are timeout, endpoint, tls");
        check("x", &["y"], "; valid keys are y");
        check("", &[], "; there are no valid keys");
    }
}
