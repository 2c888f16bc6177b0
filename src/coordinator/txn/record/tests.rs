//! Records as bytes: what is written is read, and hostile bytes are refused.
