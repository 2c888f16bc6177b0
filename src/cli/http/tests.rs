use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use super::*;

/// Answers one request with this status line and body; gives what was asked.
fn serve_once(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
        String::from_utf8(request).unwrap()
    });
    (address, server)
}

fn api(address: &str) -> AdminApi {
    AdminApi::with_timeout(address, Duration::from_secs(5))
}

#[test]
fn an_answer_is_read_as_json() {
    let (address, server) = serve_once("200 OK", r#"{"modules":[{"name":"m"}]}"#);
    let answer = api(&address).call(Call::Get, "/v1/modules").unwrap();
    assert_eq!(elements(&answer, "modules"), [json!({"name": "m"})]);
    assert!(server.join().unwrap().starts_with("GET /v1/modules HTTP/1.1"));
}

#[test]
fn an_error_keeps_the_servers_code_sentence_and_hint() {
    let body = r#"{"error":{"code":"MODULE_IN_USE","message":"upper uses it","hint":"delete upper first"}}"#;
    let (address, server) = serve_once("409 Conflict", body);
    let error = api(&address).call(Call::Delete, "/v1/modules/m").unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ExitKind::Conflict, "MODULE_IN_USE"));
    assert_eq!(error.to_string(), "error: upper uses it\nhint: delete upper first");
    server.join().unwrap();
}

#[test]
fn statuses_become_exit_codes_whatever_the_body_is() {
    for (status, exit) in [(404, 3), (409, 4), (403, 5), (422, 7), (413, 7), (503, 6), (500, 1)] {
        assert_eq!(refused(status, "<html>").kind.code(), exit, "{status}");
    }
    assert_eq!(refused(500, "").message, "the admin API answers with status 500");
}

#[test]
fn something_else_behind_the_address_is_told_apart() {
    let (address, server) = serve_once("200 OK", "<html>hello</html>");
    let error = api(&address).call(Call::Get, "/v1/modules").unwrap_err();
    assert!(error.message.contains("is not the admin API"), "{error}");
    server.join().unwrap();
}

#[test]
fn names_are_escaped_in_paths_and_values_shown_plainly() {
    assert_eq!(path_segment("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
    assert_eq!(shown(Some(&json!(["a", 1, null]))), "a, 1, -");
    assert_eq!(shown(Some(&json!({"lag": 3}))), "lag=3");
    assert_eq!(shown(None), "-");
}
