use std::sync::{Mutex, MutexGuard, PoisonError};

static SOURCE: Mutex<()> = Mutex::new(());

/// The source of random numbers of a backend, which is one for all threads: between its seed and the last number that is
/// drawn, nobody else may draw. So trainers side by side have the dropout that they have alone.
pub(crate) fn random_numbers() -> MutexGuard<'static, ()> {
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}
