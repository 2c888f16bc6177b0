//! Room `partition`: see ARCHITECTURE.md.
