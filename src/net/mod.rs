//! Room `net`: see ARCHITECTURE.md.
