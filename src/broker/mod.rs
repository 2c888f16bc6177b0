//! Room `broker`: see ARCHITECTURE.md.
