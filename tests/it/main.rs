//! The one integration binary: modules by subject.
