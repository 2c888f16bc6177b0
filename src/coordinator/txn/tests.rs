//! The transaction coordinator, tested as events in and output out.
