//! Room `processor`: see ARCHITECTURE.md.
