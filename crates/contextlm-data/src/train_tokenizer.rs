use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TokenizerImpl};

use crate::pieces::pieces;
use crate::{DataError, Document, limit_bytes};

/// The 256 bytes and the end of text.
const LEAST: usize = 257;
/// The trainer sets memory aside for this many tokens at once.
const MOST: usize = 1 << 20;
/// The trainer counts pairs in 31 bits; text of this length cannot overflow them.
const MAX_BYTES: u64 = 1 << 30;
/// The trainer's time grows with the square of a word, so a run of letters or spaces without end is cut.
const MAX_WORD_BYTES: usize = 256;

/// A byte-level BPE as GPT-2's, trained on the documents, with one special token.
pub(crate) fn train(
    documents: impl Iterator<Item = Result<Document, DataError>> + Send,
    vocab_size: usize,
    end_of_text: &str,
) -> Result<Tokenizer, DataError> {
    if !(LEAST..=MOST).contains(&vocab_size) {
        return Err(DataError::VocabularySize { value: vocab_size, least: LEAST, most: MOST });
    }
    let bytes = ByteLevel::new(false, true, true);
    let mut tokenizer: TokenizerImpl<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    > = TokenizerImpl::new(BPE::default());
    let words = Sequence::new(vec![bytes.into(), FixedLength::new(MAX_WORD_BYTES).into()]);
    tokenizer.with_pre_tokenizer(Some(words)).with_post_processor(Some(bytes)).with_decoder(Some(bytes));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(end_of_text, true)])
        .build();
    // The trainer takes texts, not results: the first error ends the texts and comes out here.
    let mut first_error = None;
    let texts = limit_bytes(documents, MAX_BYTES)
        .map_while(|item| item.map_err(|error| first_error = Some(error)).ok())
        .flat_map(|document| pieces(&document.text).map(str::to_owned).collect::<Vec<_>>());
    let trained = tokenizer.train(&mut trainer, texts).map(|_| ());
    if let Some(error) = first_error {
        return Err(error);
    }
    trained.map_err(|error| DataError::Tokenizer { reason: error.to_string() })?;
    tokenizer.with_pre_tokenizer(Some(bytes));
    Ok(tokenizer.into())
}
