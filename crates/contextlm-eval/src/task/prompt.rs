use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// Text with places for the values of a record: `{key}`, or `{key.inner}` for a value inside another. Braces are written
/// twice. Where a value is a list, so is the result: one text for each of its elements.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Source")]
pub struct Template {
    source: Source,
    /// One, or one for every element of a list.
    parts: Vec<Vec<Part>>,
}

/// A text, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Source {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// The keys that lead to a value.
    Value(Vec<String>),
}

impl TryFrom<Source> for Template {
    type Error = String;

    fn try_from(source: Source) -> Result<Self, String> {
        let texts = match &source {
            Source::One(text) => std::slice::from_ref(text),
            Source::Many(texts) => texts,
        };
        let parts = texts.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { source, parts })
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

fn parse(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut literal, mut chars) = (Vec::new(), String::new(), text.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.next_if_eq(&char).is_some() => literal.push(char),
            '{' => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some(char) => name.push(char),
                        None => return Err(format!("no }} behind {{{name}; write {{{{ for a brace")),
                    }
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Value(name.split('.').map(|key| key.trim().to_owned()).collect()));
            }
            '}' => return Err("} without {; write }} for a brace".into()),
            char => literal.push(char),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

impl Template {
    /// Whether a record has every key that this names.
    pub(super) fn has_keys(&self, record: &Map<String, Value>) -> bool {
        self.parts.iter().flatten().all(|part| match part {
            Part::Text(_) => true,
            Part::Value(keys) => value(record, keys).is_ok(),
        })
    }

    /// The text for a record, or a list of texts.
    pub(super) fn fill(&self, record: &Map<String, Value>) -> Result<Value, String> {
        match &self.source {
            Source::One(_) => fill(self.parts.first().map_or(&[], Vec::as_slice), record),
            Source::Many(_) => self.parts.iter().map(|parts| fill(parts, record)).collect(),
        }
    }
}

fn fill(parts: &[Part], record: &Map<String, Value>) -> Result<Value, String> {
    let mut texts = vec![String::new()];
    let mut list = false;
    for part in parts {
        match part {
            Part::Text(text) => texts.iter_mut().for_each(|filled| filled.push_str(text)),
            Part::Value(keys) => match value(record, keys)? {
                Value::Array(values) => {
                    if !list {
                        list = true;
                        texts = vec![texts.concat(); values.len()];
                    }
                    if texts.len() != values.len() {
                        let reason =
                            format!("{} has {} elements, another list {}", keys.join("."), values.len(), texts.len());
                        return Err(reason);
                    }
                    for (filled, value) in texts.iter_mut().zip(values) {
                        filled.push_str(&text(value, keys)?);
                    }
                }
                value => {
                    let value = text(value, keys)?;
                    texts.iter_mut().for_each(|filled| filled.push_str(&value));
                }
            },
        }
    }
    Ok(if list { texts.into() } else { texts.concat().into() })
}

fn value<'r>(record: &'r Map<String, Value>, keys: &[String]) -> Result<&'r Value, String> {
    let (first, inner) = keys.split_first().ok_or("a place without a key")?;
    let found = inner.iter().try_fold(record.get(first), |value, key| Some(value?.get(key)));
    found.flatten().ok_or_else(|| format!("no key {:?}, which the prompt asks for", keys.join(".")))
}

fn text(value: &Value, keys: &[String]) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(u8::from(*value).to_string()),
        _ => Err(format!("{} is neither a text nor a number", keys.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: Value, record: Value) -> Result<Value, String> {
        let template: Template = serde_json::from_value(template).map_err(|error| error.to_string())?;
        template.fill(record.as_object().unwrap())
    }

    #[test]
    fn places_are_filled_and_lists_give_lists() {
        let record = json!({ "q": "Why?", "n": 3, "yes": true, "c": { "text": ["a", "b"], "label": ["A", "B"] } });
        let check = |template: Value, expected: Value| assert_eq!(filled(template, record.clone()), Ok(expected));
        check(json!("Q: {q}\nA{{}}:"), json!("Q: Why?\nA{}:"));
        check(json!("{n}{yes}"), json!("31"));
        check(json!(" {c.text}."), json!([" a.", " b."]));
        check(json!("{c.label} {c.text}"), json!(["A a", "B b"]));
        check(json!([" no", " {q}"]), json!([" no", " Why?"]));
        check(json!(""), json!(""));
    }

    #[test]
    fn what_cannot_be_filled_says_why() {
        let record = json!({ "c": [1, 2], "d": [1], "e": {} });
        for (template, reason) in [
            ("{q}", "no key \"q\""),
            ("{e.f}", "no key \"e.f\""),
            ("{c}{d}", "d has 1 elements, another list 2"),
            ("{e}", "e is neither"),
            ("{q", "no } behind {q"),
            ("q}", "} without {"),
        ] {
            let error = filled(json!(template), record.clone()).unwrap_err();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }
}
