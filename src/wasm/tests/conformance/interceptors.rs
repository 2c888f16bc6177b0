//! The list's items for interceptors.

use super::*;
