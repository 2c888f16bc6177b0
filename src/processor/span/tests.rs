//! Cutting spans.
