use serde::Serialize;
use serde_json::Value;

/// A value as it is read after it was written as JSON. serde_json reads a number of 16 or 17 digits up to one unit of its last
/// place off, unless a feature is on that would be on for all of burn: what was read is compared with what is read, not with
/// what was written.
pub(crate) fn as_read(value: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::from_str(&serde_json::to_string(value)?)
}
