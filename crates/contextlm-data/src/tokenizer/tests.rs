use super::*;

const TEXT: &str = "The chunk after the chunk is the next chunk; the token after the token is the next token.\n\
                    <|endoftext|> is how a document ends, and <|endoftext|> is also eleven letters and four signs.\n";

fn trained() -> Tokenizer {
    Tokenizer::train([Ok(Document::new(TEXT.repeat(3)))], 320).unwrap()
}

#[test]
fn any_text_comes_back() {
    let tokenizer = trained();
    let all: String = (0..=0x2FFFF).filter_map(char::from_u32).collect();
    let odd = "\u{0}\u{feff} \r\n\t\u{a0}e\u{301}\u{1F468}\u{200D}\u{1F469}  <|endoftext|><|endoftext|> Ġ \u{10FFFF}";
    for text in ["", " ", "\n\n", odd, &all, &odd.repeat(3000)] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_utf8_comes_back(text in proptest::prelude::any::<String>(), spelled in "[a-z <|>\\u{0}-\\u{20}]{0,40}") {
        thread_local!(static TOKENIZER: Tokenizer = trained());
        TOKENIZER.with(|tokenizer| {
            let text = text + &spelled;
            let ids = tokenizer.encode(&text).unwrap();
            assert!(!ids.contains(&tokenizer.end_of_text().unwrap()));
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        });
    }
}

#[test]
fn a_spelled_special_token_is_plain_text() {
    let tokenizer = trained();
    let end = tokenizer.end_of_text().unwrap();
    assert_eq!(tokenizer.id_to_token(end).as_deref(), Some("<|endoftext|>"));
    for text in ["<|endoftext|>", "a<|endoftext|>b", " <|endoftext|>\n<|endoftext|>"] {
        let ids = tokenizer.encode(text).unwrap();
        assert!(ids.len() > 1 && !ids.contains(&end), "{text}: {ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    // In training it was plain text too: its parts were learned as any others.
    assert!(tokenizer.token_to_id("endoftext").is_some());
    assert!(tokenizer.token_to_id("Ġ<|").is_some());
    assert_eq!(tokenizer.decode(&[end]).unwrap(), "<|endoftext|>");
}

#[test]
fn the_same_text_trains_the_same_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let text = |n: usize| format!("{n} words, word after word: {TEXT}");
    let mut files = Vec::new();
    for _ in 0..3 {
        let documents = (0..200).map(|n| Ok(Document::new(text(n))));
        Tokenizer::train(documents, 400).unwrap().save(&path).unwrap();
        files.push(fs::read(&path).unwrap());
    }
    assert!(files[0] == files[1] && files[1] == files[2]);
}

#[test]
fn a_saved_tokenizer_is_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let tokenizer = trained();
    tokenizer.save(&path).unwrap();
    let loaded = Tokenizer::from_file(&path).unwrap();
    assert_eq!(loaded.vocab_size(), tokenizer.vocab_size());
    assert_eq!(loaded.end_of_text().unwrap(), tokenizer.end_of_text().unwrap());
    assert_eq!(loaded.encode(TEXT).unwrap(), tokenizer.encode(TEXT).unwrap());
    assert_eq!(loaded.sha256(), tokenizer.sha256());
    let nowhere = tokenizer.save(folder.path().join("no/such/folder.json"));
    assert!(matches!(nowhere, Err(DataError::TokenizerFile { .. })));
}

/// Shards name their tokenizer by its digest, and so do they find the one of a model that was trained on them.
#[test]
fn a_file_is_saved_as_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["tokenizer.json", "copy.json"].map(|name| folder.path().join(name));
    trained().save(&path).unwrap();
    // Laid out as nobody would write it.
    let text = fs::read_to_string(&path).unwrap().replacen('{', "{\n\n\t", 1);
    fs::write(&path, &text).unwrap();
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    tokenizer.save(&copy).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), text);
    assert_eq!(Tokenizer::from_file(&copy).unwrap().sha256(), tokenizer.sha256());

    // Another end of text is part of it.
    let other = tokenizer.clone().with_end_of_text("a").unwrap();
    other.save(&copy).unwrap();
    assert_ne!(other.sha256(), tokenizer.sha256());
    assert_eq!(Tokenizer::from_file(&copy).unwrap().sha256(), other.sha256());
}

#[test]
fn vocabulary_sizes() {
    let train = |size| Tokenizer::train([Ok(Document::new(TEXT.repeat(3)))], size);
    assert_eq!(train(257).unwrap().vocab_size(), 257);
    assert_eq!(train(300).unwrap().vocab_size(), 300);
    // The text has no more pairs to merge.
    assert!((300..1000).contains(&train(1000).unwrap().vocab_size()));
    // No pair is there twice.
    assert_eq!(Tokenizer::train([Ok(Document::new("abcdefg"))], 300).unwrap().vocab_size(), 257);
    for size in [0, 256, (1 << 20) + 1, usize::MAX] {
        assert!(matches!(train(size), Err(DataError::VocabularySize { value, .. }) if value == size));
    }
}

/// The trainer, whose time grows with the square of a word, gets none of these as one word: none becomes a token.
#[test]
fn endless_words_are_cut() {
    for run in [" ", "a", "ACGTTGCA"] {
        let text = run.repeat((1 << 20) / run.len());
        let tokenizer = Tokenizer::train([Ok(Document::new(text.clone()))], 300).unwrap();
        let longest = tokenizer.inner.get_vocab(false).into_keys().map(|token| token.chars().count()).max();
        assert_eq!(longest, Some(256), "{run:?}");
        assert!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap() == text);
    }
}

#[test]
fn the_first_error_of_the_documents_ends_training() {
    let items = [Ok(Document::new("a")), Err(DataError::NoPaths), Err(DataError::EmptyFile { path: "x".into() })];
    assert!(matches!(Tokenizer::train(items, 300), Err(DataError::NoPaths)));
}

#[test]
fn ids_without_a_token_are_errors() {
    let tokenizer = trained();
    let id = tokenizer.vocab_size() as u32;
    assert!(matches!(tokenizer.decode(&[0, id]), Err(DataError::UnknownToken { id: found, .. }) if found == id));
    assert!(tokenizer.decode(&[u32::MAX]).is_err());
    assert_eq!(tokenizer.id_to_token(id), None);
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let tokenizer = trained();
    let size = tokenizer.vocab_size();
    // Models are padded.
    assert!(tokenizer.check_vocabulary(size).is_ok() && tokenizer.check_vocabulary(size + 27).is_ok());
    let error = tokenizer.check_vocabulary(size - 1).unwrap_err();
    assert!(
        matches!(error, DataError::AnotherVocabulary { tokenizer, model } if (tokenizer, model) == (size, size - 1))
    );
}

/// The trained tokenizer's file after `edit`.
fn edited(edit: impl Fn(String) -> String) -> Result<Tokenizer, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    trained().save(&path).unwrap();
    let file = fs::read_to_string(&path).unwrap();
    let changed = edit(file.clone());
    assert_ne!(file, changed);
    fs::write(&path, changed).unwrap();
    Tokenizer::from_file(&path)
}

#[test]
fn what_a_file_asks_for_beside_the_tokens_is_left_out() {
    let cut = r#""truncation":{"direction":"Right","max_length":2,"strategy":"LongestFirst","stride":0}"#;
    let pad = r#""padding":{"strategy":{"Fixed":500},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"x"}"#;
    let tokenizer = edited(|file| file.replace(r#""truncation":null"#, cut).replace(r#""padding":null"#, pad)).unwrap();
    assert_eq!(tokenizer.encode(TEXT).unwrap(), trained().encode(TEXT).unwrap());
}

#[test]
fn an_end_of_text_that_the_file_has_as_ordinary_is_special() {
    let tokenizer = edited(|file| file.replace(r#""special":true"#, r#""special":false"#)).unwrap();
    assert_eq!(tokenizer.encode(TEXT).unwrap(), trained().encode(TEXT).unwrap());
}

#[test]
fn without_end_of_text() {
    let tokenizer = edited(|file| file.replace("<|endoftext|>", "<|other|>")).unwrap();
    let error = tokenizer.end_of_text().unwrap_err().to_string();
    assert!(error.contains("<|endoftext|>") && error.contains("</s>"), "{error}");
    let tokenizer = tokenizer.with_end_of_text("<|other|>").unwrap();
    assert_eq!(tokenizer.end_of_text().unwrap(), 0);
    assert!(matches!(tokenizer.with_end_of_text("<|none|>"), Err(DataError::NoEndOfText { .. })));
}

#[test]
fn files_that_are_no_tokenizer() {
    assert!(matches!(Tokenizer::from_file("no/tokenizer.json"), Err(DataError::Io { .. })));
    for bad in ["", "{}", "[]", "{\"version\":\"1.0\"}"] {
        let error = edited(|_| bad.to_owned()).unwrap_err();
        assert!(matches!(error, DataError::TokenizerFile { .. }), "{error}");
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }
    // Cut off anywhere.
    for part in 1..16 {
        let error = edited(|file| file.chars().take(file.chars().count() * part / 16).collect()).unwrap_err();
        assert!(matches!(error, DataError::TokenizerFile { .. }), "{error}");
    }
    let error = edited(|file| file.replace(r#""dropout":null"#, r#""dropout":0.1"#)).unwrap_err();
    assert!(error.to_string().contains("dropout"), "{error}");
}

/// Well-formed files that make the library panic: while it reads, encodes or decodes.
#[test]
fn senseless_files_are_errors_and_no_panics() {
    let charsmap = r#""normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#;
    let error = edited(|file| file.replace(r#""normalizer":null"#, charsmap)).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("panicked"), "{error}");

    let empty_pattern = r#""normalizer":{"type":"Replace","pattern":{"String":""},"content":"é"}"#;
    let tokenizer = edited(|file| file.replace(r#""normalizer":null"#, empty_pattern)).unwrap();
    assert!(matches!(tokenizer.encode("é é"), Err(DataError::Tokenizer { .. })));

    let strip = r#""decoder":{"type":"Strip","content":"!","start":0,"stop":9000}"#;
    let bytes = r#""decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;
    let tokenizer = edited(|file| file.replace(bytes, strip)).unwrap();
    assert!(matches!(tokenizer.decode(&[1]), Err(DataError::Tokenizer { .. })));
}

#[test]
fn special_tokens_that_the_file_asks_for_are_put_around_a_text_on_demand_only() {
    let begin = trained().token_to_id("<|endoftext|>").unwrap();
    let tokenizer = edited(|file| {
        let mut json: serde_json::Value = serde_json::from_str(&file).unwrap();
        json["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "pair": [],
            "single": [{ "SpecialToken": { "id": "B", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "special_tokens": { "B": { "id": "B", "ids": [begin], "tokens": ["<|endoftext|>"] } },
        });
        json.to_string()
    })
    .unwrap();
    let plain = tokenizer.encode("the chunk").unwrap();
    assert_eq!(tokenizer.encode_with_special("the chunk").unwrap(), [vec![begin], plain].concat());
    assert_eq!(trained().encode_with_special("the chunk").unwrap(), trained().encode("the chunk").unwrap());
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    trained().save(&path).unwrap();
    let file = fs::read(&path).unwrap();
    for at in (0..file.len()).step_by(7) {
        for byte in [b'"', b'0', b'{', b','] {
            let mut damaged = file.clone();
            damaged[at] = byte;
            fs::write(&path, &damaged).unwrap();
            if let Ok(tokenizer) = Tokenizer::from_file(&path) {
                let ids = tokenizer.encode("the chunk\n");
                let _ = ids.map(|ids| tokenizer.decode(&ids));
            }
        }
    }
}

#[test]
fn a_directory_has_a_tokenizer_in_one_of_two_forms() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("neither tokenizer.json nor vocab.json"), "{error}");

    let tokenizer = Tokenizer::train([Ok(Document::new("low lower lowest newer newest wide wider"))], 280).unwrap();
    tokenizer.save(folder.path().join("tokenizer.json")).unwrap();
    let text = "the newest lower é 🦀\n<|endoftext|>";
    let expected = tokenizer.encode(text).unwrap();
    assert_eq!(Tokenizer::from_dir(folder.path()).unwrap().encode(text).unwrap(), expected);

    // The same as GPT-2's own files.
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("tokenizer.json")).unwrap()).unwrap();
    let mut merges = String::from("#version: 0.2\n");
    for pair in json["model"]["merges"].as_array().unwrap() {
        let part = |i: usize| pair[i].as_str().unwrap();
        merges += &format!("{} {}\n", part(0), part(1));
    }
    std::fs::write(folder.path().join("vocab.json"), json["model"]["vocab"].to_string()).unwrap();
    std::fs::write(folder.path().join("merges.txt"), merges).unwrap();
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let read = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(read.encode(text).unwrap(), expected);
    assert_eq!(read.decode(&expected).unwrap(), text);
    assert_eq!(read.end_of_text().unwrap(), tokenizer.end_of_text().unwrap());

    for wrong in ["{", "[]", "{\"a\": -1}"] {
        std::fs::write(folder.path().join("vocab.json"), wrong).unwrap();
        let error = Tokenizer::from_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains("vocab.json"), "{error}");
    }
}

#[test]
fn what_has_no_end_is_no_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, reason: &str| {
        let error = Tokenizer::from_dir(folder.path()).unwrap_err();
        let DataError::Io { path, source } = &error else { panic!("{error}") };
        assert!(path.ends_with(name) && source.to_string().contains(reason), "{name}: {source}");
    };
    let path = folder.path().join("tokenizer.json");
    // Nothing is on the disk of it.
    File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    refused("tokenizer.json", "500000001 bytes, at most 500000000 are read");
    fs::remove_file(&path).unwrap();
    fs::write(folder.path().join("vocab.json"), "{}").unwrap();
    File::create(folder.path().join("merges.txt")).unwrap().set_len(MAX_FILE + 1).unwrap();
    refused("merges.txt", "at most 500000000");
    let error = Tokenizer::from_file(folder.path()).unwrap_err();
    assert!(matches!(&error, DataError::Io { source, .. } if source.to_string() == "not a file"), "{error}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err();
        assert!(matches!(&error, DataError::Io { source, .. } if source.to_string() == "not a file"), "{error}");
    }
}

#[test]
fn ids_that_no_token_has_are_known() {
    let tokenizer = trained();
    assert_eq!(tokenizer.ids_without_token().count(), 0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let vocabulary = serde_json::json!({ "a": 0, "b": 1, "c": 5 });
    let model = serde_json::json!({ "type": "WordLevel", "vocab": vocabulary, "unk_token": "a" });
    fs::write(&path, serde_json::json!({ "version": "1.0", "added_tokens": [], "model": model }).to_string()).unwrap();
    let tokenizer = Tokenizer::from_file(&path).unwrap();
    assert_eq!(tokenizer.ids_without_token().collect::<Vec<_>>(), [2, 3, 4]);
    for id in 0..6 {
        assert_eq!(tokenizer.decode(&[id]).is_err(), (2..5).contains(&id), "{id}");
    }
}
