//! The C library (conversion only).
