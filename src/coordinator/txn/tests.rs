//! The transaction coordinator, tested as events in and output out; a crash may come between any two.

mod add_partitions;
mod crash_matrix;
mod end_txn_table;
mod fixture;
mod init_producer_id;
mod maintenance;
mod markers;
mod partitions;
mod properties;
