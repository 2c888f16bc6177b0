//! Room `handlers`: see ARCHITECTURE.md.
