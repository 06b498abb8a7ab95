//! The file systems.
