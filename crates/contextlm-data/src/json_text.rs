use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The value of `key` in a line that must be a JSON object; `None` if the key is not there. Of a key that is there twice, the last.
///
/// The other values are parsed but not kept. The error says what is wrong and in which column.
pub(crate) fn value_of(line: &str, key: &str) -> Result<Option<Value>, String> {
    let mut parser = serde_json::Deserializer::from_str(line);
    let value = Key(key).deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    value.map_err(|error| {
        // The parser counts lines within this one line.
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        format!("{reason} (column {})", error.column())
    })
}

/// The kind of a value, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Key<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Option<Value>;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_of_an_object() {
        let line = r#"{"a": {"text": 1}, "text": "x\n\u00e9", "b": [1, {}]}"#;
        assert_eq!(value_of(line, "text").unwrap(), Some(Value::String("x\né".into())));
        assert_eq!(value_of(line, "none").unwrap(), None);
    }

    #[test]
    fn what_is_no_object_is_an_error_and_no_panic() {
        let deep = format!(r#"{{"text": {}"#, "[".repeat(100_000));
        let deep_elsewhere = format!(r#"{{"other": {}"#, "[".repeat(100_000));
        for line in
            ["", "[1]", "3", "{", r#"{"text": "x"} y"#, r#"{"text": "\ud800"}"#, "\u{0}", &deep, &deep_elsewhere]
        {
            assert!(value_of(line, "text").is_err(), "{line:.40}");
        }
        assert_eq!(value_of(r#"{"text": tru}"#, "text").unwrap_err(), "expected ident (column 13)");
    }
}
