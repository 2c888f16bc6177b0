//! Room `metadata`: see ARCHITECTURE.md.
