//! `recipes/`.

use super::*;

/// Every recipe, and whether its model has contexts.
fn recipes() -> Vec<(String, bool)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| fs::read_to_string(path).unwrap());
    texts.map(|text| (text.clone(), text.contains("[model.context]"))).collect()
}

#[test]
fn recipes_tell_of_every_key() {
    let context = serde_json::to_value(contextlm_core::ContextConfig::default()).unwrap();
    let context: Vec<_> = context.as_object().unwrap().keys().cloned().collect();
    for (text, has_context) in recipes() {
        let name = text.lines().find(|line| line.starts_with("dir = ")).unwrap();
        for (table, keys) in keys::KNOWN {
            let table = text.split_once(&format!("[{table}]\n")).unwrap_or_else(|| panic!("{name}: no [{table}]")).1;
            for key in keys.iter().filter(|key| has_context || **key != "context") {
                let words = table.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(words.into_iter().any(|word| word == *key), "{name}: {key}");
            }
        }
        let told = |key: &String| text.contains(&format!("\n{key} = "));
        assert!(!has_context || context.iter().all(told), "{name}: not all of {context:?}");
    }
}

#[test]
fn every_key_of_a_recipe_has_type_and_default() {
    let types = ["integer", "float", "string", "boolean", "list of", "table"];
    for (text, _) in recipes() {
        let mut comment = String::new();
        for line in text.lines() {
            match line.strip_prefix('#') {
                Some(more) => comment += more,
                None if line.contains(" = ") => {
                    let explained = types.iter().any(|kind| comment.contains(kind)) && comment.contains("efault");
                    assert!(explained, "{line}: {comment}");
                    comment.clear();
                }
                None => comment.clear(),
            }
        }
    }
}
