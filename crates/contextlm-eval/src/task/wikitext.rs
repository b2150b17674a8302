//! WikiText: its pages, and its text as it was before tokenization.

use crate::python::is_space;

/// The pages of a raw file with the line, from 1, on which each begins: a line `= Title =` begins one. The text before
/// the first heading is a page if there is any.
pub(super) fn pages(text: &str) -> Vec<(u64, String)> {
    let mut pages = Vec::new();
    let (mut lines, mut first) = (Vec::new(), 1);
    for (number, line) in (1..).zip(text.split('\n')) {
        // Deeper headings have two and more signs on either side.
        let heading = line.replace("= = =", "===").replace("= =", "==");
        let heading = heading.trim();
        if heading.starts_with("= ") && heading.ends_with(" =") {
            push(&mut pages, first, &lines);
            (lines, first) = (Vec::new(), number);
        }
        lines.push(line);
    }
    push(&mut pages, first, &lines);
    pages
}

fn push(pages: &mut Vec<(u64, String)>, first: u64, lines: &[&str]) {
    let page = lines.join("\n");
    if !page.trim().is_empty() {
        pages.push((first, page));
    }
}

/// Undoes WikiText's tokenization, step by step as lm-evaluation-harness does.
pub(super) fn detokenize(page: &str) -> String {
    const BEFORE_QUOTED_DIGITS: [(&str, &str); 1] = [("s '", "s'")];
    const BEFORE_BRACKETS: [(&str, &str); 9] = [
        (" @-@ ", "-"),
        (" @,@ ", ","),
        (" @.@ ", "."),
        (" : ", ": "),
        (" ; ", "; "),
        (" . ", ". "),
        (" ! ", "! "),
        (" ? ", "? "),
        (" , ", ", "),
    ];
    const AFTER_BRACKETS: [(&str, &str); 8] = [
        ("= = = =", "===="),
        ("= = =", "==="),
        ("= =", "=="),
        (" \u{b0} ", "\u{b0}"),
        (" \n", "\n"),
        ("\n ", "\n"),
        (" N ", " 1 "),
        (" 's", "'s"),
    ];
    let replaced =
        |text: String, steps: &[(&str, &str)]| steps.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let mut text = replaced(page.into(), &BEFORE_QUOTED_DIGITS);
    text = quoted_digits(&text);
    text = replaced(text, &BEFORE_BRACKETS);
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')] {
        text = tightened(&text, open, close);
    }
    replaced(text, &AFTER_BRACKETS)
}

/// The harness means to join `/' 5/` and puts its pattern there instead; numbers are compared with it, so this does too.
fn quoted_digits(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("/' ") {
        out.push_str(&rest[..at]);
        match &rest.as_bytes()[at + 3..] {
            [digit, b'/', ..] if digit.is_ascii_digit() => {
                out.push_str("/'[0-9]/");
                rest = &rest[at + 5..];
            }
            _ => {
                out.push('/');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// Takes white space away from behind every opening sign and before the next closing one.
fn tightened(text: &str, open: char, close: char) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(open) {
        let Some((inside, behind)) = after.split_once(close) else { break };
        out.push_str(before);
        out.push(open);
        out.push_str(inside.trim_matches(is_space));
        out.push(close);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs from `wikitext_detokenizer` of lm-evaluation-harness 0.4.13.
    #[test]
    fn text_is_joined_as_the_harness_joins_it() {
        for (page, text) in [
            (
                "the dogs ' tails , 3 @,@ 000 of them @-@ and 1 @.@ 5 : yes ; no . Why ? Oh ! \n ( a ( b ) c ) [ x ] { y  } \" quoted text \" ' single ' \n = = Part = = \n 5 ° C and N men , it 's",
                "the dogs'tails, 3,000 of them-and 1.5: yes; no. Why? Oh!\n(a ( b) c ) [x] {y} \"quoted text\"' single '== Part ==\n5°C and 1 men, it's",
            ),
            ("a /' 5/ b /' x/ c /' 7/", "a /'[0-9]/ b /' x/ c /'[0-9]/"),
            ("( ( nested ) open ( unclosed", "(( nested) open ( unclosed"),
            ("= = = = Deep = = = = \n \"\" ' ' \" über 中 \" '\x1c z '", "==== Deep ====\n\"\" '' \"über 中\" 'z'"),
            ("''' odd ' quotes\n ' \" ( ) \"", "'''odd' quotes\n' \"()\""),
        ] {
            assert_eq!(detokenize(page), text, "{page:?}");
        }
    }

    #[test]
    fn a_heading_of_the_first_level_begins_a_page() {
        let text = " \n = One = \n \n some text \n = = Part = = \n more \n = Two = \n end = \n";
        let pages = pages(text);
        assert_eq!(pages.len(), 2);
        assert_eq!((pages[0].0, &pages[0].1[..10]), (2, " = One = \n"));
        assert_eq!(pages[1], (7, " = Two = \n end = \n".into()));
        assert_eq!(super::pages("before\n = A = \n").len(), 2);
        assert!(super::pages(" \n\n").is_empty());
    }
}
