//! Room `metrics`: see ARCHITECTURE.md.
