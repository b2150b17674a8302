use std::path::Path;

use contextlm_data::{DataError, ReadOptions, ShardSet, Tokenizer, Tokens, find_files, read_documents, read_text};

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
    /// line under `key`; any other file is plain text, also with .gz or .zst behind its name. `documents`: each is a sequence of its own; else their tokens
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
            Err(DataError::UnknownExtension { .. }) => add(&read_text(path)?)?,
            _ => read_documents(&[path.into()], &options)?.try_for_each(|document| add(&document?.text))?,
        }
        if !documents {
            sequences = vec![sequences.concat()];
        }
        let sequences = sequences.into_iter().map(Tokens::from).collect();
        Ok(Self { sequences, bytes: Some(bytes), words: Some(words) })
    }

    /// Opens token shards of a model with this vocabulary. `documents`: each is a sequence of its own, which begins with
    /// its end-of-text id; they are then held in memory. `tokenizer`: the model's, if it has one, which must be the one
    /// that shards.json names.
    ///
    /// # Errors
    /// [`EvalError::Data`]; [`EvalError::OtherTokenizer`]; [`EvalError::Setting`] for documents without a shards.json,
    /// which names that id.
    pub fn from_shards(
        dir: &Path,
        vocabulary: usize,
        tokenizer: Option<&Tokenizer>,
        documents: bool,
    ) -> Result<Self, EvalError> {
        let shards = ShardSet::open(dir, vocabulary)?;
        if let (Some(info), Some(tokenizer)) = (shards.info(), tokenizer)
            && info.tokenizer_sha256 != tokenizer.sha256()
        {
            let (shards, model) = (info.tokenizer_sha256.clone(), tokenizer.sha256().to_owned());
            return Err(EvalError::OtherTokenizer { dir: dir.into(), shards, model });
        }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use contextlm_data::{Document, PrepareOptions, prepare};

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
        let read = |documents| EvalCorpus::from_shards(&train, 300, Some(encoder.tokenizer()), documents);
        let count = |text: &str| encoder.text(text).unwrap().len() + 1;
        assert_eq!(lengths(&read(true).unwrap()), [count("a first document"), count("a second")]);
        assert_eq!(lengths(&read(false).unwrap()), [count("a first document") + count("a second")]);
        assert_eq!((read(false).unwrap().bytes, read(false).unwrap().words), (Some(24), None));
        let other = Tokenizer::train([Ok(Document::new("another text, another tokenizer. ".repeat(20)))], 280).unwrap();
        let error = EvalCorpus::from_shards(&train, 300, Some(&other), false).unwrap_err().to_string();
        assert!(error.contains(other.sha256()) && error.contains(encoder.tokenizer().sha256()), "{error}");
        assert!(EvalCorpus::from_shards(&train, 300, None, false).is_ok());
        fs::remove_file(train.join("shards.json")).unwrap();
        assert!(EvalCorpus::from_shards(&train, 300, Some(&other), false).is_ok());
        assert_eq!(read(false).unwrap().bytes, None);
        assert!(read(true).unwrap_err().to_string().contains("no shards.json"));
    }
}
