//! Room `server`: see ARCHITECTURE.md.
