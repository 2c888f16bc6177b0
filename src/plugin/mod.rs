//! Room `plugin`: see ARCHITECTURE.md.
