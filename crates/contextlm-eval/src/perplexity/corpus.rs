use std::fs;
use std::path::Path;

use contextlm_data::{DataError, ReadOptions, ShardSet, Tokens, find_files, read_documents};

use crate::{Encoder, EvalError};

/// What perplexity is computed of.
#[derive(Debug, Clone)]
pub struct EvalCorpus {
    /// Documents, or all of them as one stream.
    pub sequences: Vec<Tokens>,
    /// UTF-8 bytes of all text, where they are known.
    pub bytes: Option<u64>,
    /// Its words, separated by white space, where they are known.
    pub words: Option<u64>,
}

impl EvalCorpus {
    /// Reads a file or folder of text: .txt, .md and .jsonl, also .gz and .zst, as training does, with the text of a JSON
    /// line under `key`; any other file is plain text. `documents`: each is a sequence of its own; else their tokens
    /// follow each other with nothing between.
    ///
    /// # Errors
    /// [`EvalError::Data`], [`EvalError::File`].
    pub fn from_text(path: &Path, key: &str, encoder: &Encoder, documents: bool) -> Result<Self, EvalError> {
        let options = ReadOptions { key: key.into(), ..ReadOptions::default() };
        let (mut sequences, mut bytes, mut words) = (Vec::new(), 0, 0);
        let mut add = |text: &str| -> Result<(), EvalError> {
            bytes += text.len() as u64;
            words += text.split_whitespace().count() as u64;
            sequences.push(encoder.text(text)?);
            Ok(())
        };
        match find_files(&[path.into()]) {
            Err(DataError::UnknownExtension { .. }) => add(&plain(path)?)?,
            _ => read_documents(&[path.into()], &options)?.try_for_each(|document| add(&document?.text))?,
        }
        if !documents {
            sequences = vec![sequences.concat()];
        }
        let sequences = sequences.into_iter().map(Tokens::from).collect();
        Ok(Self { sequences, bytes: Some(bytes), words: Some(words) })
    }

    /// Opens token shards of a model with this vocabulary. `documents`: each is a sequence of its own, which begins with
    /// its end-of-text id; they are then held in memory.
    ///
    /// # Errors
    /// [`EvalError::Data`]; [`EvalError::Setting`] for documents without a shards.json, which names that id.
    pub fn from_shards(dir: &Path, vocabulary: usize, documents: bool) -> Result<Self, EvalError> {
        let shards = ShardSet::open(dir, vocabulary)?;
        let (bytes, end) = (shards.info().map(|info| info.bytes), shards.info().map(|info| info.end_of_text));
        if !documents {
            return Ok(Self { sequences: vec![shards.into()], bytes, words: None });
        }
        let fix = format!("{} has no shards.json, which says where documents begin", dir.display());
        let end = end.ok_or_else(|| EvalError::setting("documents", true, fix))?;
        let tokens = shards.read(0, shards.len())?;
        let mut sequences: Vec<Vec<u32>> = Vec::new();
        for token in tokens {
            match sequences.last_mut() {
                Some(sequence) if token != end => sequence.push(token),
                _ => sequences.push(vec![token]),
            }
        }
        Ok(Self { sequences: sequences.into_iter().map(Tokens::from).collect(), bytes, words: None })
    }
}

fn plain(path: &Path) -> Result<String, EvalError> {
    let bytes = fs::read(path).map_err(EvalError::io(path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count() as u64;
        DataError::NotUtf8 { path: path.into(), line }
    })?;
    match text.is_empty() {
        true => Err(DataError::EmptyFile { path: path.into() }.into()),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use contextlm_data::{Document, PrepareOptions, Tokenizer, prepare};

    use super::*;

    fn encoder() -> Encoder {
        let text = "a first document, and a second document. ".repeat(20);
        Encoder::new(Tokenizer::train([Ok(Document::new(text))], 300).unwrap()).unwrap()
    }

    fn lengths(corpus: &EvalCorpus) -> Vec<usize> {
        corpus.sequences.iter().map(Tokens::len).collect()
    }

    #[test]
    fn texts_are_documents_or_one_stream_with_nothing_between() {
        let (folder, encoder) = (tempfile::tempdir().unwrap(), encoder());
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "{\"t\": \"a first document\"}\n{\"t\": \"a  sécond\"}\n").unwrap();
        let read = |documents| EvalCorpus::from_text(&path, "t", &encoder, documents).unwrap();
        let count = |text: &str| encoder.text(text).unwrap().len();
        assert_eq!(lengths(&read(true)), [count("a first document"), count("a  sécond")]);
        assert_eq!(lengths(&read(false)), [count("a first document") + count("a  sécond")]);
        assert_eq!((read(true).bytes, read(true).words), (Some(16 + 10), Some(5)));

        let raw = folder.path().join("a.raw");
        fs::write(&raw, "plain text").unwrap();
        let plain = EvalCorpus::from_text(&raw, "t", &encoder, true).unwrap();
        assert_eq!((lengths(&plain), plain.words), (vec![count("plain text")], Some(2)));
        fs::write(&raw, b"plain\n\xff").unwrap();
        let error = EvalCorpus::from_text(&raw, "t", &encoder, true).unwrap_err().to_string();
        assert!(error.contains("a.raw, line 2: not UTF-8"), "{error}");
        fs::write(&raw, "").unwrap();
        assert!(EvalCorpus::from_text(&raw, "t", &encoder, true).unwrap_err().to_string().contains("empty"));
        let none = EvalCorpus::from_text(&folder.path().join("b.raw"), "t", &encoder, true).unwrap_err().to_string();
        assert!(none.contains("b.raw: no such file"), "{none}");
    }

    #[test]
    fn shards_are_one_stream_or_their_documents() {
        let (folder, encoder) = (tempfile::tempdir().unwrap(), encoder());
        let text = folder.path().join("a.jsonl");
        fs::write(&text, "{\"text\": \"a first document\"}\n{\"text\": \"a second\"}\n").unwrap();
        let out = folder.path().join("out");
        let options = PrepareOptions { held: None, ..PrepareOptions::default() };
        prepare(&[text], encoder.tokenizer(), &out, &options, |_| true).unwrap();
        let train = out.join("train");
        let read = |documents| EvalCorpus::from_shards(&train, 300, documents);
        let count = |text: &str| encoder.text(text).unwrap().len() + 1;
        assert_eq!(lengths(&read(true).unwrap()), [count("a first document"), count("a second")]);
        assert_eq!(lengths(&read(false).unwrap()), [count("a first document") + count("a second")]);
        assert_eq!((read(false).unwrap().bytes, read(false).unwrap().words), (Some(24), None));
        fs::remove_file(train.join("shards.json")).unwrap();
        assert_eq!(read(false).unwrap().bytes, None);
        assert!(read(true).unwrap_err().to_string().contains("no shards.json"));
    }
}
