//! Which tokens end a text, as a model directory says it.

use std::error::Error;
use std::path::Path;

use contextlm_core::files::{MAX_CONFIG, read_file};
use contextlm_data::Tokenizer;
use serde_json::Value;

/// Ids of `generation_config.json`, or else of `config.json`, and the tokens of the tokenizer's files.
pub(super) fn end_of_text(dir: &Path, tokenizer: &Tokenizer) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut ends = ids(&read(&dir.join("generation_config.json"))?["eos_token_id"]);
    if ends.is_empty() {
        let config = read(&dir.join("config.json"))?;
        ends = ids(&config["eos_token_id"]);
        ends.extend(ids(&config["backbone"]["eos_token_id"]));
    }
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let token = &read(&dir.join(name))?["eos_token"];
        // A token is its text, or a table with the text in it.
        let text = token.as_str().or_else(|| token["content"].as_str());
        ends.extend(text.and_then(|text| tokenizer.token_to_id(text)));
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

/// One id, or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(values) => values.iter().filter_map(id).collect(),
        value => id(value).into_iter().collect(),
    }
}

/// A JSON file, null if it is not there.
fn read(path: &Path) -> Result<Value, Box<dyn Error>> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let bytes = read_file(path, MAX_CONFIG).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_file_has_its_say() {
        let folder = tempfile::tempdir().unwrap();
        let text = "some text about some text about it ".repeat(9);
        let tokenizer = Tokenizer::train([Ok(contextlm_data::Document::new(text))], 270).unwrap();
        let write = |name: &str, value: Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
        let ends = || end_of_text(folder.path(), &tokenizer).map_err(|error| error.to_string());
        assert_eq!(ends(), Ok(vec![]));
        write("config.json", json!({ "eos_token_id": 7, "backbone": { "eos_token_id": [8, 7] } }));
        assert_eq!(ends(), Ok(vec![7, 8]));
        write("generation_config.json", json!({ "eos_token_id": [3, 5] }));
        assert_eq!(ends(), Ok(vec![3, 5]));
        let end = tokenizer.end_of_text().unwrap();
        for (name, token) in [
            ("tokenizer_config.json", json!({ "content": "<|endoftext|>" })),
            ("special_tokens_map.json", json!("<|endoftext|>")),
        ] {
            write(name, json!({ "eos_token": token }));
            assert!(ends().unwrap().contains(&end), "{name}");
            write(name, json!({ "eos_token": null }));
        }
        fs::write(folder.path().join("generation_config.json"), "{").unwrap();
        assert!(ends().unwrap_err().contains("generation_config.json"));
        #[cfg(unix)]
        {
            let path = folder.path().join("generation_config.json");
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap(); // would never end
            assert!(ends().unwrap_err().contains("generation_config.json: not a file"));
        }
    }
}
