//! Did-you-mean: the nearest of the valid names, for keys, components and paths alike.

/// The name in `valid` that `found` was most likely meant to be: one that begins with it, or one
/// at most a third of the letters away.
pub fn nearest<'a>(found: &str, valid: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    // Nobody mistypes a page.
    if found.len() > 64 {
        return None;
    }
    let wanted = found.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let close = valid.clone().map(|name| (distance(&wanted, &name.to_lowercase()), name));
    let close = close.filter(|(edits, name)| *edits <= allowed && *edits < name.len());
    let begins = |name: &&str| wanted.len() > 2 && name.to_lowercase().starts_with(&wanted);
    let close = close.min_by_key(|(edits, _)| *edits).map(|(_, name)| name);
    close.or_else(|| valid.into_iter().find(begins))
}

/// Letters to insert, delete or replace; the same letters in another order count as one.
fn distance(a: &str, b: &str) -> usize {
    let letters = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.sort_unstable();
        letters
    };
    if a != b && letters(a) == letters(b) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (above, y) in row.iter_mut().skip(1).zip(b.chars()) {
            left = (corner + usize::from(x != y)).min(*above + 1).min(left + 1);
            corner = std::mem::replace(above, left);
        }
    }
    row.last().copied().unwrap_or_default()
}
