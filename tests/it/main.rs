//! The one integration binary: modules by subject.

mod tidy;
