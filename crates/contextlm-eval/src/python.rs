//! What Python counts as white space, which the harness's rules are made of.

/// `str.isspace` of one character, and `\s` of a regular expression.
pub(crate) fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

/// The number of parts that `re.split(r"\s+", text)` gives: one more than there are runs of white space.
pub(crate) fn split_count(text: &str) -> usize {
    let mut before = false;
    let mut runs = 0;
    for char in text.chars() {
        let space = is_space(char);
        runs += usize::from(space && !before);
        before = space;
    }
    runs + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts that Python 3.11 gives.
    #[test]
    fn parts_are_counted_as_python_does() {
        for (text, count) in
            [("", 1), (" ", 2), ("a", 1), (" a b ", 4), ("a\u{a0}\u{2003}b\n\tc", 3), ("a\u{1c}b\u{200b}c", 2)]
        {
            assert_eq!(split_count(text), count, "{text:?}");
        }
    }
}
