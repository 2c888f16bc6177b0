//! Room `testing`: see ARCHITECTURE.md.
