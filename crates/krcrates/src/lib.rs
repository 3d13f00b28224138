//! Carries the C interfaces of its dependencies (their include/ folders); has none of its own.

pub use krhub::ffi as hub;
pub use krtext::ffi as text;
