//! What fast bodies on flex share.

pub(crate) mod heads;
pub(crate) mod product;
pub(crate) mod tensor;
