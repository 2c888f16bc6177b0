use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn args(line: &str) -> ProduceArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Produce(args) => args,
        other => panic!("{other:?}"),
    }
}

/// Answers one request after another; gives their bodies.
fn serve(answers: Vec<(&'static str, String)>) -> (String, JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for (status, answer) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(head.starts_with("post /v1/topics/t/records "), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap());
            let length = answer.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all((head + &answer).as_bytes()).unwrap();
        }
        bodies
    });
    (address, server)
}

fn sender<'a>(args: &'a ProduceArgs, address: &str) -> Sender<'a> {
    Sender {
        api: AdminApi::with_timeout(address, Duration::from_secs(5)),
        args,
        partitioner: json!({"module": "m", "config": {}}),
        request: Vec::new(),
        request_bytes: 0,
        lines: 0,
        written: 0,
        offsets: Offsets::new(),
    }
}

fn written(places: &[(i32, i64)]) -> String {
    let place = |(partition, offset): &(i32, i64)| json!({"partition": partition, "offset": offset});
    json!({"records": places.iter().map(place).collect::<Vec<_>>()}).to_string()
}

/// Gives what is left in pieces, as a pipe does.
struct Pieces(Vec<&'static [u8]>);

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let piece = self.0.remove(0);
        into[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

#[test]
fn lines_become_records_with_keys_headers_nulls_and_bytes() {
    let args = args("tidemill produce t --partitioner m -K : --null-value NULL -H a=b");
    let headers = json!([{"key": "a", "value": "b"}]);
    assert_eq!(record(&args, b"k:v").unwrap(), json!({"key": "k", "value": "v", "headers": headers}));
    assert_eq!(
        record(&args, b"\xff:NULL").unwrap(),
        json!({"key": {"base64": "/w=="}, "value": null, "headers": headers})
    );
}

#[test]
fn what_is_there_goes_in_one_request_and_a_pause_ends_it() {
    let args = args("tidemill produce t --partitioner m");
    let (address, server) = serve(vec![
        ("200 OK", written(&[(1, 5), (0, 7)])),
        ("200 OK", written(&[(1, 6)])),
        ("200 OK", written(&[(1, 7)])),
    ]);
    let mut sender = sender(&args, &address);
    sender.send_lines(Pieces(vec![b"a\nb\n", b"c\nd", b"d\n"]), &Interrupt::default()).unwrap();
    let values = |body: &Value| {
        assert_eq!(body["partitioner"], json!({"module": "m", "config": {}}));
        elements(body, "records").iter().map(|record| record["value"].clone()).collect::<Vec<_>>()
    };
    let bodies = server.join().unwrap();
    assert_eq!(bodies.iter().map(values).collect::<Vec<_>>(), [vec!["a", "b"], vec!["c"], vec!["dd"]]);
    assert_eq!(sender.offsets, Offsets::from([(0, (7, 7)), (1, (5, 7))]));
}

#[test]
fn a_refusal_names_the_lines() {
    let args = args("tidemill produce t --partitioner m");
    let refused = r#"{"error":{"code":"PARTITIONER_FAILED","message":"It failed at record 1.","hint":""}}"#;
    let mixed = r#"{"records":[{"partition":0,"offset":3},
        {"error":{"code":"MESSAGE_TOO_LARGE","message":"It is too large."}}]}"#;
    let (address, server) = serve(vec![
        ("200 OK", written(&[(0, 1), (0, 2)])),
        ("207 Multi-Status", mixed.to_owned()),
        ("422 Unprocessable Entity", refused.to_owned()),
    ]);
    let mut sender = sender(&args, &address);
    let error = sender.send_lines(Pieces(vec![b"a\nb\n", b"c\nd\n"]), &Interrupt::default()).unwrap_err();
    assert_eq!(error.message, "cannot write line 4 to t: It is too large. (MESSAGE_TOO_LARGE)");
    assert_eq!((sender.written, sender.offsets.get(&0)), (3, Some(&(1, 3))));
    let error = sender.send_lines(Pieces(vec![b"e\nf\n"]), &Interrupt::default()).unwrap_err();
    assert_eq!(error.message, "lines 5 to 6 of the input were not written: It failed at record 1.");
    assert_eq!((error.code.as_str(), error.kind), ("PARTITIONER_FAILED", ExitKind::Invalid));
    assert_eq!(server.join().unwrap().len(), 3);
}

#[test]
fn requests_are_of_bounded_size() {
    let args = args("tidemill produce t --partitioner m");
    let places: Vec<_> = (0..1_000).map(|offset| (0, offset)).collect();
    let (address, server) =
        serve(vec![("200 OK", written(&places)), ("200 OK", written(&[(0, 1_000), (0, 1_001)]))]);
    let mut sender = sender(&args, &address);
    let input = "x\n".repeat(1_002);
    sender.send_lines(input.as_bytes(), &Interrupt::default()).unwrap();
    let counts =
        server.join().unwrap().iter().map(|body| elements(body, "records").len()).collect::<Vec<_>>();
    assert_eq!(counts, [1_000, 2]);
    assert_eq!((sender.written, sender.offsets.get(&0)), (1_002, Some(&(0, 1_001))));
}
