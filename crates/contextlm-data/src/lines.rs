use std::io::{self, BufRead, Read};

/// What [`read_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, in the buffer, without its `\n`.
    Whole,
    /// A line over the limit. It was passed over.
    TooLong,
    /// Nothing is left.
    End,
}

/// Reads the next line of at most `limit` bytes into `buffer` and never keeps more than that.
pub(crate) fn read_line(reader: &mut dyn BufRead, buffer: &mut Vec<u8>, limit: u64) -> io::Result<Line> {
    buffer.clear();
    let read = reader.take(limit.saturating_add(1)).read_until(b'\n', buffer)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        return Ok(Line::Whole);
    }
    if buffer.len() as u64 <= limit {
        return Ok(Line::Whole);
    }
    while buffer.last() != Some(&b'\n') {
        buffer.clear();
        if reader.take(1 << 16).read_until(b'\n', buffer)? == 0 {
            break;
        }
    }
    buffer.clear();
    Ok(Line::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_limit_are_passed_over() {
        let long = "y".repeat(200_000);
        let text = format!("abc\n\nabcd\n{long}\nab\n{long}");
        let mut reader = io::BufReader::with_capacity(7, text.as_bytes());
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        loop {
            match read_line(&mut reader, &mut buffer, 3).unwrap() {
                Line::End => break,
                line => found.push((line, String::from_utf8(buffer.clone()).unwrap())),
            }
            assert!(buffer.capacity() < 100_000);
        }
        let whole = |text: &str| (Line::Whole, text.to_owned());
        let long = || (Line::TooLong, String::new());
        assert_eq!(found, [whole("abc"), whole(""), long(), long(), whole("ab"), long()]);
    }
}
