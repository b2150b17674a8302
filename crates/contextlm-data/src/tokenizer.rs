use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper};

use crate::guard::guard;
use crate::pieces::pieces;
use crate::train_tokenizer::train;
use crate::word_cache::{CacheId, encode_words};
use crate::word_rules::WordRules;
use crate::words::words;
use crate::{DataError, Document};

/// Many times the bytes of the largest tokenizer.
const MAX_FILE: u64 = 500_000_000;

/// The end-of-text tokens that are looked for, in this order: of GPT-2, Pythia and Qwen; Llama 3; Llama and Mistral; Gemma.
const END_OF_TEXT: [&str; 4] = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"];

/// A `tokenizer.json` as language models are trained with: text to ids and back, with no special token ever added.
///
/// Text that spells a special token is encoded as the plain text that it is, so that only the program can put special
/// tokens into a sequence. Truncation and padding that a file may ask for are left out.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    end_of_text: Option<u32>,
    vocab_size: usize,
    /// Of a tokenizer that cuts words as GPT-2 does.
    words: Option<WordRules>,
    cache: CacheId,
    /// What [`save`](Self::save) writes: the file as it was read, where there is one.
    json: Arc<Vec<u8>>,
    sha256: String,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::TokenizerFile`] if it is none, or one that encodes by chance (BPE dropout).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        guard(|| tokenizers::Tokenizer::from_bytes(&bytes))
            .and_then(|inner| Self::new(inner, Some(bytes)))
            .map_err(|reason| DataError::TokenizerFile { path: path.into(), reason })
    }

    /// The tokenizer of a model directory: `tokenizer.json`, or else GPT-2's `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// [`DataError::TokenizerFile`] naming the directory if it has neither, else as [`from_file`](Self::from_file).
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, DataError> {
        let dir = dir.as_ref();
        let [json, vocab, merges] = ["tokenizer.json", "vocab.json", "merges.txt"].map(|name| dir.join(name));
        if json.is_file() {
            return Self::from_file(json);
        }
        if vocab.is_file() && merges.is_file() {
            return Self::from_vocab_and_merges(&vocab, &merges);
        }
        let reason = "there is neither tokenizer.json nor vocab.json with merges.txt in it".into();
        Err(DataError::TokenizerFile { path: dir.into(), reason })
    }

    /// GPT-2's own files: byte-level BPE with `<|endoftext|>`.
    fn from_vocab_and_merges(vocab: &Path, merges: &Path) -> Result<Self, DataError> {
        let [vocab_name, merges_name] = [vocab, merges].map(|path| path.to_string_lossy().into_owned());
        let build = || {
            let model = BPE::from_file(&vocab_name, &merges_name).build().map_err(|error| error.to_string())?;
            let bytes = ByteLevel::new(false, true, true);
            let mut tokenizer = tokenizers::Tokenizer::new(model);
            tokenizer.with_pre_tokenizer(Some(bytes)).with_post_processor(Some(bytes)).with_decoder(Some(bytes));
            Ok::<_, String>(tokenizer)
        };
        [vocab, merges].into_iter().try_for_each(check_file)?;
        guard(build)
            .and_then(|inner| Self::new(inner, None))
            .map_err(|reason| DataError::TokenizerFile { path: vocab.into(), reason })
    }

    /// Trains a byte-level BPE like GPT-2's on the documents, with `<|endoftext|>` as its only special token.
    ///
    /// `vocab_size` counts the 256 bytes and the end of text too; a short text may give fewer. Pairs seen only once are
    /// not merged. The first GiB of text is used, nothing after it is read. The same documents give the same tokenizer.
    ///
    /// # Errors
    /// [`DataError::VocabularySize`], the first error of the documents, [`DataError::Tokenizer`].
    pub fn train<I>(documents: I, vocab_size: usize) -> Result<Self, DataError>
    where
        I: IntoIterator<Item = Result<Document, DataError>>,
        I::IntoIter: Send,
    {
        let inner = train(documents.into_iter(), vocab_size, END_OF_TEXT[0])?;
        Self::new(inner, None).map_err(failed)
    }

    fn new(mut inner: tokenizers::Tokenizer, file: Option<Vec<u8>>) -> Result<Self, String> {
        if let ModelWrapper::BPE(bpe) = inner.get_model()
            && bpe.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            return Err("model.dropout is set, which encodes by chance; set it to null".into());
        }
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let end_of_text = END_OF_TEXT.iter().find(|token| inner.token_to_id(token).is_some());
        let largest = inner.get_vocab(true).into_values().max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        let words = WordRules::of(&inner);
        let (json, sha256) = Default::default();
        let mut tokenizer = Self { inner, end_of_text: None, vocab_size, words, cache: CacheId::new(), json, sha256 };
        if let Some(token) = end_of_text {
            tokenizer = tokenizer.mark_end_of_text(token);
        }
        match file {
            Some(file) => Ok(tokenizer.with_json(file)),
            None => tokenizer.with_json_of_its_own(),
        }
    }

    /// The same tokenizer with another end-of-text token, one of its vocabulary.
    ///
    /// # Errors
    /// [`DataError::NoEndOfText`] if the vocabulary has no such token.
    pub fn with_end_of_text(self, token: &str) -> Result<Self, DataError> {
        if self.inner.token_to_id(token).is_none() {
            return Err(DataError::NoEndOfText { looked_for: token.to_owned() });
        }
        if self.end_of_text == self.inner.token_to_id(token) {
            return Ok(self);
        }
        self.mark_end_of_text(token).with_json_of_its_own().map_err(failed)
    }

    fn mark_end_of_text(mut self, token: &str) -> Self {
        self.end_of_text = self.inner.token_to_id(token);
        // A file may have it as an ordinary token, which text could then spell.
        if !self.inner.get_added_vocabulary().is_special_token(token) {
            self.inner.add_special_tokens(&[AddedToken::from(token, true)]);
        }
        self
    }

    fn with_json(self, json: Vec<u8>) -> Self {
        let sha256 = hex_digest(&json);
        Self { json: Arc::new(json), sha256, ..self }
    }

    fn with_json_of_its_own(self) -> Result<Self, String> {
        let json = self.inner.to_string(false).map_err(|error| error.to_string())?;
        Ok(self.with_json(json.into_bytes()))
    }

    /// Writes the tokenizer as a `tokenizer.json`: the one that it was read from, byte by byte, where there is one.
    ///
    /// # Errors
    /// [`DataError::TokenizerFile`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path: PathBuf = path.as_ref().into();
        fs::write(&path, &*self.json).map_err(|error| DataError::TokenizerFile { path, reason: error.to_string() })
    }

    /// The ids of a text, without any special token.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::new();
        for piece in self.pieces(text) {
            self.encode_piece(piece, &mut ids)?;
        }
        Ok(ids)
    }

    /// The ids of a text with the special tokens that the file puts around every text: Llama's begin-of-text id; none of
    /// GPT-2 and Pythia.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`].
    pub fn encode_with_special(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = guard(|| self.inner.encode_fast(text, true)).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode) of each text, on all threads of rayon's pool.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`].
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, DataError> {
        let pieces: Vec<_> =
            texts.iter().enumerate().flat_map(|(n, text)| self.pieces(text).map(move |piece| (n, piece))).collect();
        let encode = |piece: &str| {
            let mut ids = Vec::new();
            self.encode_piece(piece, &mut ids).map(|()| ids)
        };
        let encoded = pieces.par_iter().map(|(_, piece)| encode(piece)).collect::<Result<Vec<_>, _>>()?;
        let mut ids = vec![Vec::new(); texts.len()];
        for ((n, _), mut piece) in pieces.into_iter().zip(encoded) {
            ids[n].append(&mut piece);
        }
        Ok(ids)
    }

    fn pieces<'t>(&self, text: &'t str) -> Box<dyn Iterator<Item = &'t str> + 't> {
        if self.words.is_some() { Box::new(pieces(text)) } else { Box::new(std::iter::once(text)) }
    }

    /// Appends the ids of a text: word by word where that is the same, else by the library as a whole.
    fn encode_piece(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), DataError> {
        if self.words.as_ref().is_some_and(|rules| rules.allow(text)) {
            return encode_words(self.cache, words(text), ids, |word| self.encode_whole(word));
        }
        ids.append(&mut self.encode_whole(text)?);
        Ok(())
    }

    fn encode_whole(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = guard(|| self.inner.encode_fast(text, false)).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of the ids, special tokens spelled out. Bytes that are no UTF-8, of a character cut in two for example,
    /// become U+FFFD.
    ///
    /// # Errors
    /// [`DataError::UnknownToken`] for an id without a token, [`DataError::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        if let Some(&id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(DataError::UnknownToken { id, vocab_size: self.vocab_size });
        }
        guard(|| self.inner.decode(ids, false)).map_err(failed)
    }

    /// One more than the largest id: the smallest vocabulary of a model that can take every token.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Ids below [`vocab_size`](Self::vocab_size) that no token has: files may leave some out.
    pub fn ids_without_token(&self) -> impl Iterator<Item = u32> {
        let there: HashSet<u32> = self.inner.get_vocab(true).into_values().collect();
        (0..self.vocab_size as u32).filter(move |id| !there.contains(id) && self.inner.id_to_token(*id).is_none())
    }

    /// Checks that a model with a vocabulary of `model` tokens can take every token. It may have more: models are padded.
    ///
    /// # Errors
    /// [`DataError::AnotherVocabulary`].
    pub fn check_vocabulary(&self, model: usize) -> Result<(), DataError> {
        if self.vocab_size > model {
            return Err(DataError::AnotherVocabulary { tokenizer: self.vocab_size, model });
        }
        Ok(())
    }

    /// SHA-256 of what [`save`](Self::save) writes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The id that stands before every document.
    ///
    /// # Errors
    /// [`DataError::NoEndOfText`] if none of the usual ones is there and [`with_end_of_text`](Self::with_end_of_text) named none.
    pub fn end_of_text(&self) -> Result<u32, DataError> {
        self.end_of_text.ok_or_else(|| DataError::NoEndOfText { looked_for: END_OF_TEXT.join(", ") })
    }

    /// The token of an id as the vocabulary spells it (byte-level tokens have Ġ for a space); `None` if there is none.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

/// Refuses what could be read for ever, a pipe or a device, and what is no tokenizer by its size.
fn check_file(path: &Path) -> Result<(), DataError> {
    let failed = |source| DataError::Io { path: path.into(), source };
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::other("not a file")));
    }
    if found.len() > MAX_FILE {
        return Err(failed(io::Error::other(format!("{} bytes, at most {MAX_FILE} are read", found.len()))));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    check_file(path)?;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|source| DataError::Io { path: path.into(), source })?;
    Ok(bytes)
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(reason: String) -> DataError {
    DataError::Tokenizer { reason }
}

#[cfg(test)]
mod tests;
