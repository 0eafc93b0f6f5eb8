//! Patterns of names: `*` matches any number of characters, including none; every other character matches itself.

/// Whether `name` matches `pattern`. The time is linear in the product of their lengths.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            last_star = Some((at_pattern, at_name));
            at_pattern += 1;
        } else if pattern.get(at_pattern) == Some(&name[at_name]) {
            at_pattern += 1;
            at_name += 1;
        } else if let Some((star, taken)) = last_star {
            // Let the last star match one more character, and try again behind it.
            last_star = Some((star, taken + 1));
            at_pattern = star + 1;
            at_name = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|&byte| byte == b'*')
}

/// Whether some name matches both patterns.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    // meets[j]: some name matches both `left` from i and `right` from j.
    let mut below: Vec<bool> = Vec::new();
    for i in (0..=left.len()).rev() {
        let mut meets = vec![false; right.len() + 1];
        for j in (0..=right.len()).rev() {
            let down = |below: &Vec<bool>| below.get(j).copied().unwrap_or(false);
            let across = |meets: &Vec<bool>| meets.get(j + 1).copied().unwrap_or(false);
            meets[j] = match (left.get(i), right.get(j)) {
                (None, None) => true,
                (Some(b'*'), None) => down(&below),
                (None, Some(b'*')) => across(&meets),
                (Some(b'*'), Some(_)) | (Some(_), Some(b'*')) => down(&below) || across(&meets),
                (Some(a), Some(b)) => a == b && below.get(j + 1).copied().unwrap_or(false),
                _ => false,
            };
        }
        below = meets;
    }
    below.first().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_characters() {
        for (pattern, name, fits) in [
            ("*.pin", "0a1b.pin", true),
            ("*.pin", ".pin", true),
            ("*.pin", "0a1b.pin.x", false),
            ("streaming-*-pin", "streaming-0a-1b-pin", true),
            ("streaming-*-pin", "streaming-pin", false),
            ("a*b*c", "aXbXbc", true),
            ("", "", true),
            ("*", "", true),
            ("pin", "pins", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn overlap_finds_common_names() {
        for (left, right, meets) in [
            ("*.pin", "*.geo", false),
            ("*.pin", "pinterest.*", true),
            ("pin*", "pinball.csv", true),
            ("a*b", "ab*", true),
            ("a*b", "a*c", false),
            ("*", "x", true),
            ("", "*", true),
            ("x", "y", false),
        ] {
            assert_eq!(overlap(left, right), meets, "{left} {right}");
            assert_eq!(overlap(right, left), meets, "{right} {left}");
        }
    }
}
