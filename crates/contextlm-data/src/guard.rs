use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a call into the `tokenizers` library, which panics where a `tokenizer.json` is well-formed but senseless, and
/// makes an error of that. The panic's own message still goes to the standard error.
///
/// What the library changes behind a shared reference is its cache, which it does without when a panic has poisoned it.
pub(crate) fn guard<T, E: ToString>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    guard_of("tokenizers", call)
}

/// The same for another library. What `call` has changed is not looked at any more once it has panicked.
pub(crate) fn guard_of<T, E: ToString>(library: &str, call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the {library} library panicked: {}", message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let nothing: [u8; 0] = [];
        let number = std::hint::black_box(3);
        let error = guard(|| Ok::<_, String>(nothing[number])).unwrap_err();
        assert!(error.contains("index is 3"), "{error}");
        assert_eq!(guard(|| Err::<(), _>("plain")).unwrap_err(), "plain");
        assert_eq!(guard(|| Ok::<_, String>(1)).unwrap(), 1);
    }
}
