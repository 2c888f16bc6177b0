//! Room `wasm`: see ARCHITECTURE.md.
