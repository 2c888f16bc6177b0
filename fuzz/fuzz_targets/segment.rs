//! A log over a segment of arbitrary bytes: opening cuts or refuses, and what then can be read is
//! whole. The first byte chooses what recovery may believe.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidemill::clock::Timestamp;
use tidemill::disk::{Disk, OpenMode, SimDisk};
use tidemill::ids::Offset;
use tidemill::log::{AtLeastOneBatch, LastShutdown, Log, LogConfig, OpenLog};
use tidemill::wire::record_batch::RecordBatch;

const DIRECTORY: &str = "topic-0";

fuzz_target!(|data: &[u8]| {
    let Some((choice, segment)) = data.split_first() else { return };
    let disk = Disk::simulated(SimDisk::new());
    disk.create_dir_all(DIRECTORY).expect("the disk has no faults");
    let path = format!("{DIRECTORY}/{:020}.log", 0);
    let file = disk.open_file(&path, OpenMode::Create).expect("the disk has no faults");
    file.write_at(0, segment).expect("the disk has no faults");
    let open = OpenLog {
        disk,
        directory: DIRECTORY.to_owned(),
        config: LogConfig { index_interval_bytes: 64, ..LogConfig::default() },
        recovery_point: Offset::from_wire(i64::from(choice >> 1)).unwrap_or(Offset::ZERO),
        log_start_offset: None,
        shutdown: if choice & 1 == 0 { LastShutdown::Unclean } else { LastShutdown::Clean },
        now: Timestamp::from_ms(1_000_000),
    };
    let Ok((log, _)) = Log::open(open) else { return };
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let read = log.read(next, Offset::MAX, 1, AtLeastOneBatch::Yes).expect("what was checked is readable");
        let mut bytes: Bytes = read.to_bytes().expect("the disk has no faults");
        while RecordBatch::take_first(&mut bytes).expect("only good batches are left").is_some() {}
        assert!(bytes.is_empty() && read.next_offset > next);
        next = read.next_offset;
    }
    let _ = log.aborted_transactions(Offset::ZERO, Offset::MAX);
    let _ = log.offset_of_max_timestamp(Offset::MAX);
});
