//! The Node addon (conversion only).
