//! Room `admin`: see ARCHITECTURE.md.
