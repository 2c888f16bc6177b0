//! Opening a log again: after a clean end, after a crash, with files missing, torn or rotten.
