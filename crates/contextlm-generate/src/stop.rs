/// Lets text through up to the first of several stop strings.
///
/// What could be the beginning of one is held back until it is known, so that pieces of a stream never show a part of
/// a stop string.
#[derive(Debug, Clone)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopFilter {
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new(), stopped: false }
    }

    /// What may be shown after this piece.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        let end = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(end) = end {
            self.stopped = true;
            self.held.truncate(end);
            return std::mem::take(&mut self.held);
        }
        let undecided = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - undecided);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, when no more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stopped
    }
}

/// Bytes of the longest end of `text` that `stop` begins with.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = text.char_indices().map(|(at, _)| at);
    let longest = starts.filter(|&at| text.len() - at < stop.len()).find(|&at| stop.starts_with(&text[at..]));
    longest.map_or(0, |at| text.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut filter = StopFilter::new(&stops);
        let mut shown: Vec<String> = pieces.iter().map(|piece| filter.push(piece)).collect();
        shown.push(filter.finish());
        (shown, filter.stopped())
    }

    #[test]
    fn nothing_of_a_stop_string_is_shown() {
        let shown = |pieces: &[&str]| run(&["\n\nQ"], pieces);
        assert_eq!(
            shown(&["a\n", "\n", "Qb", "c"]),
            (vec!["a".into(), "".into(), "".into(), "".into(), "".into()], true)
        );
        assert_eq!(shown(&["a\n", "\n", "R"]), (vec!["a".into(), "".into(), "\n\nR".into(), "".into()], false));
        assert_eq!(shown(&["a\n"]), (vec!["a".into(), "\n".into()], false));
        assert_eq!(shown(&["\n\n", "\nQ"]), (vec!["".into(), "\n".into(), "".into()], true));
    }

    #[test]
    fn the_first_of_several_counts() {
        assert_eq!(run(&["d", "bc"], &["abcd"]), (vec!["a".into(), "".into()], true));
        assert_eq!(run(&["€€"], &["é€", "€"]), (vec!["é".into(), "".into(), "".into()], true));
    }
}
