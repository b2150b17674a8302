use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DataError, Document, Tokenizer};

/// Documents are encoded together once they have this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// How much text there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents.
    pub documents: u64,
    /// Tokens, the end-of-text token before each document included.
    pub tokens: u64,
    /// Bytes of the text in UTF-8.
    pub bytes: u64,
}

/// Documents as one stream of tokens, each document preceded by the end-of-text id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The stream.
    pub tokens: Arc<[u32]>,
    /// The end-of-text id. It stands at the start of every document and nowhere else.
    pub end_of_text: u32,
    /// What the stream is made of.
    pub counts: Counts,
}

impl Corpus {
    /// Encodes documents on all threads of rayon's pool; the stream does not depend on how many those are.
    ///
    /// `progress` is called with what is encoded so far, about every 4 MiB of text. Apart from the stream itself, only
    /// that much text, or one document if that is longer, is held.
    ///
    /// # Errors
    /// The first error of the documents, [`DataError::NoEndOfText`], [`DataError::Tokenizer`],
    /// [`DataError::EndOfTextInText`].
    pub fn encode(
        documents: impl IntoIterator<Item = Result<Document, DataError>>,
        tokenizer: &Tokenizer,
        progress: impl FnMut(&Counts),
    ) -> Result<Self, DataError> {
        Self::encode_in_batches(documents, tokenizer, progress, BATCH_BYTES)
    }

    fn encode_in_batches(
        documents: impl IntoIterator<Item = Result<Document, DataError>>,
        tokenizer: &Tokenizer,
        mut progress: impl FnMut(&Counts),
        batch_bytes: usize,
    ) -> Result<Self, DataError> {
        let end_of_text = tokenizer.end_of_text()?;
        let (mut tokens, mut counts) = (Vec::new(), Counts::default());
        let mut documents = documents.into_iter();
        loop {
            let batch = next_batch(&mut documents, batch_bytes)?;
            if batch.is_empty() {
                break;
            }
            let texts: Vec<_> = batch.iter().map(|document| document.text.as_str()).collect();
            for (document, ids) in batch.iter().zip(tokenizer.encode_batch(&texts)?) {
                if ids.contains(&end_of_text) {
                    let (path, line) = (document.path.to_path_buf(), document.line);
                    return Err(DataError::EndOfTextInText { path, line, id: end_of_text });
                }
                tokens.push(end_of_text);
                tokens.extend(ids);
                counts.documents += 1;
                counts.bytes += document.text.len() as u64;
            }
            counts.tokens = tokens.len() as u64;
            progress(&counts);
        }
        Ok(Self { tokens: tokens.into(), end_of_text, counts })
    }
}

/// The next documents of together `batch_bytes` or just above; none at the end.
fn next_batch(
    documents: &mut impl Iterator<Item = Result<Document, DataError>>,
    batch_bytes: usize,
) -> Result<Vec<Document>, DataError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < batch_bytes {
        let Some(document) = documents.next().transpose()? else { break };
        // A document of no text counts too, so that a batch ends.
        bytes += document.text.len() + 1;
        batch.push(document);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let text = "a document about documents and about tokens. ".repeat(20);
        Tokenizer::train([Ok(Document::new(text))], 300).unwrap()
    }

    fn documents(texts: &[String]) -> Vec<Result<Document, DataError>> {
        texts.iter().map(|text| Ok(Document::new(text.as_str()))).collect()
    }

    #[test]
    fn every_document_is_preceded_by_the_end_of_text() {
        let tokenizer = tokenizer();
        let end = tokenizer.end_of_text().unwrap();
        let texts = ["about é".to_owned(), String::new(), "tokens <|endoftext|>".to_owned()];
        let corpus = Corpus::encode(documents(&texts), &tokenizer, |_| ()).unwrap();
        let mut expected = Vec::new();
        for text in &texts {
            expected.push(end);
            expected.extend(tokenizer.encode(text).unwrap());
        }
        assert_eq!(corpus.tokens[..], expected);
        assert_eq!(corpus.counts, Counts { documents: 3, tokens: expected.len() as u64, bytes: 8 + 20 });
        assert_eq!(corpus.tokens.iter().filter(|&&id| id == end).count(), 3);
        assert_eq!(tokenizer.decode(&corpus.tokens).unwrap(), format!("<|endoftext|>{}", texts.join("<|endoftext|>")));
    }

    #[test]
    fn many_batches_are_the_same_stream_as_one_by_one() {
        let tokenizer = tokenizer();
        let texts: Vec<_> = (0..40).map(|n| format!("document {n} about tokens, ").repeat(1 + n * 40)).collect();
        let mut calls = Vec::new();
        let report = |counts: &Counts| calls.push(*counts);
        let corpus = Corpus::encode_in_batches(documents(&texts), &tokenizer, report, 100_000).unwrap();
        assert!(calls.len() > 3 && calls.windows(2).all(|pair| pair[0].tokens < pair[1].tokens));
        assert_eq!(calls.last(), Some(&corpus.counts));
        assert_eq!(corpus.counts.bytes, texts.concat().len() as u64);
        let end = tokenizer.end_of_text().unwrap();
        let one_by_one = texts.iter().flat_map(|text| [vec![end], tokenizer.encode(text).unwrap()].concat());
        assert!(one_by_one.eq(corpus.tokens.iter().copied()));
        assert_eq!(corpus, Corpus::encode(documents(&texts), &tokenizer, |_| ()).unwrap());
    }

    #[test]
    fn the_first_error_comes_out() {
        let broken = || DataError::NotUtf8 { path: "x.txt".into(), line: 3 };
        let items = [Ok(Document::new("a")), Err(broken()), Ok(Document::new("b"))];
        let found = Corpus::encode(items, &tokenizer(), |_| ());
        assert!(matches!(found, Err(DataError::NotUtf8 { line: 3, .. })));
    }

    #[test]
    fn text_that_gives_the_end_of_text_id_is_refused() {
        let tokenizer = tokenizer().with_end_of_text("a").unwrap();
        let found = Corpus::encode([Ok(Document::new("x a"))], &tokenizer, |_| ());
        assert!(found.is_ok_and(|corpus| corpus.counts.tokens > 1), "\" a\" is another token");
        let found = Corpus::encode([Ok(Document::new("a x"))], &tokenizer, |_| ());
        assert!(matches!(found, Err(DataError::EndOfTextInText { line: 1, .. })), "{found:?}");
    }
}
