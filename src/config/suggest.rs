//! What to write instead of a name that is not valid.

use crate::spelling::nearest;

/// `; did you mean "timeout"?` where one of `valid` is near `found`, else the list of them. `noun`
/// says what they are, `valid keys`.
pub(super) fn hint(found: &str, valid: &[&str], noun: &str) -> String {
    match nearest(found, valid.iter().copied()) {
        Some(name) => format!("; did you mean {name:?}?"),
        None if valid.is_empty() => format!("; there are no {noun}"),
        None => format!("; {noun} are {}", valid.join(", ")),
    }
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
