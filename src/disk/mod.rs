//! Room `disk`: see ARCHITECTURE.md.
