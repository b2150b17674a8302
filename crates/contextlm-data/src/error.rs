use std::path::PathBuf;

use thiserror::Error;

/// Why text cannot be read, encoded or cut into batches.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// No path was given at all.
    #[error("no text was given: name at least one file or folder")]
    NoPaths,
    /// A path that does not exist.
    #[error("{path}: no such file or folder")]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// Neither a file nor a folder: a pipe, a socket, a device.
    #[error("{path}: neither a file nor a folder")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file that was named has an extension that is not read.
    #[error("{path}: unknown extension; known are {known}")]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// What is known.
        known: &'static str,
    },
    /// A folder holds, at any depth, nothing that can be read.
    #[error("{path}: no file in this folder has a known extension; known are {known}")]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// What is known.
        known: &'static str,
    },
    /// A file without any document in it.
    #[error("{path}: the file is empty")]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses to read or write.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// A compressed file is cut off or damaged.
    #[error("{path}, line {line}: the compressed file is damaged or cut off: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line of its content from 1 up to which it could be read; of a Parquet file the row, here and below.
        line: u64,
        /// What the decompressor says.
        reason: String,
    },
    /// A Parquet file is compressed in a way that is not read.
    #[error(
        "{path}: compressed with {codec}, which is not read; write it with ZSTD, SNAPPY, GZIP, LZ4 or uncompressed"
    )]
    Codec {
        /// The file.
        path: PathBuf,
        /// The name of the way, as Parquet has it.
        codec: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("{path}, line {line}: not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: u64,
    },
    /// A document, or a line of JSON, is longer than allowed.
    #[error("{path}, line {line}: longer than {limit} bytes, the most that is read at once; split it")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A line is not a JSON object.
    #[error("{path}, line {line}: not a JSON object: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the parser says.
        reason: String,
    },
    /// A JSON object lacks the key of the text.
    #[error("{path}, line {line}: no key {key:?}; name the key that holds the text")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The key that was looked for.
        key: String,
    },
    /// The key of the text holds something else.
    #[error("{path}, line {line}: the value of {key:?} is {found}, not a string")]
    NotAString {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The key.
        key: String,
        /// The kind of value that is there.
        found: &'static str,
    },
    /// A tokenizer.json cannot be read, used or written.
    #[error("{path}: {reason}")]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The vocabulary size asked of a new tokenizer cannot be had.
    #[error("vocab_size = {value}: use {least} (256 bytes and the end of text) to {most}")]
    VocabularySize {
        /// The value.
        value: usize,
        /// The smallest one.
        least: usize,
        /// The largest one.
        most: usize,
    },
    /// The tokenizer fails on a text or on ids.
    #[error("the tokenizer failed: {reason}")]
    Tokenizer {
        /// What it says.
        reason: String,
    },
    /// An id that stands for no token.
    #[error("token {id}: the vocabulary has {vocab_size} ids and none for it")]
    UnknownToken {
        /// The id.
        id: u32,
        /// One more than the largest id.
        vocab_size: usize,
    },
    /// The tokenizer has tokens that the model does not have.
    #[error(
        "the tokenizer has {tokenizer} tokens, but the model {model}: it is another model's; \
         put the model's own tokenizer.json into its directory"
    )]
    AnotherVocabulary {
        /// One more than the tokenizer's largest id.
        tokenizer: usize,
        /// Tokens that the model has.
        model: usize,
    },
    /// The vocabulary has no token that ends a text.
    #[error("the vocabulary has no end-of-text token (looked for {looked_for}); name it")]
    NoEndOfText {
        /// The tokens that were looked for.
        looked_for: String,
    },
    /// Plain text was encoded to the end-of-text id, which must mark the start of documents and nothing else.
    #[error(
        "{path}, line {line}: its text is encoded to the end-of-text id {id}; this tokenizer cannot mark documents"
    )]
    EndOfTextInText {
        /// The file of the document.
        path: PathBuf,
        /// The line on which the document begins, from 1.
        line: u64,
        /// The id.
        id: u32,
    },
    /// The share of documents held out is not a share.
    #[error("valid fraction = {value}: use a number above 0 and below 1")]
    Fraction {
        /// The value.
        value: f64,
    },
    /// A token shard, or the file beside it, is not what it should be.
    #[error("{path}: {reason}")]
    Shard {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Token shards cannot be written to a folder as it is.
    #[error("{path}: {reason}")]
    Prepare {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A preparation was ended before it was through.
    #[error("{path}: interrupted; the same call goes on from here")]
    Interrupted {
        /// The folder.
        path: PathBuf,
    },
    /// Too few tokens for what is asked.
    #[error("the corpus has {tokens} tokens, {needed} are needed; give more text or a shorter sequence_length")]
    CorpusTooShort {
        /// The tokens that are there.
        tokens: usize,
        /// The tokens of the smallest corpus that would do.
        needed: usize,
    },
    /// The shape of a batch cannot be had.
    #[error("{key} = {value}: {fix}")]
    BatchShape {
        /// `sequence_length` or `rows`.
        key: &'static str,
        /// Its value.
        value: usize,
        /// What would be accepted.
        fix: String,
    },
    /// Cargo's registry folder holds no sources of the packages that a Cargo.lock names.
    #[error(
        "{folder}: no Rust sources of the {packages} registry packages that {lock} names; \
         builds from vendored sources need --text PATH..."
    )]
    NoRustSources {
        /// The folder that was looked in.
        folder: PathBuf,
        /// The Cargo.lock.
        lock: PathBuf,
        /// How many packages it names.
        packages: usize,
    },
}
