//! Every version of every API that the running broker advertises, sent over a socket: the answer must decode at that
//! version, use every byte, and say that it went well. The list of them is printed.

mod administration;
mod requests;

use std::io::Write;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use tidemill::testing::encode_request;
use tidemill::wire::api::SUPPORTED;

use crate::fixture::TestServer;
use crate::fixture::wire::{batch, produce_request};
use requests::Asker;

/// The first version of Produce that is served. Older ones are advertised for the sake of old librdkafka, and end
/// their connection as in Kafka (KAFKA-18659).
const PRODUCE_SERVED_FROM: i16 = 3;

/// What ApiVersions tells, asked at this version.
fn advertised(server: &TestServer, version: i16) -> Vec<ApiVersion> {
    let request = match version {
        ..3 => ApiVersionsRequest::default(),
        3.. => ApiVersionsRequest::default()
            .with_client_software_name("it".into())
            .with_client_software_version("1".into()),
    };
    let response = server.wire().call(version, &request).unwrap();
    assert_eq!(response.error_code, 0);
    response.api_keys
}

fn assert_closed_after_produce(server: &TestServer, version: i16) {
    let mut frame = encode_request(1, PRODUCE_SERVED_FROM, &produce_request("t", 0, batch(&["x"]))).unwrap();
    frame[6..8].copy_from_slice(&version.to_be_bytes());
    let mut client = server.wire();
    client.stream().write_all(&frame).unwrap();
    assert!(client.is_closed_by_peer(), "Produce version {version}");
}

#[test]
fn every_advertised_version_of_every_api_is_answered_in_its_own_encoding() {
    let server = TestServer::start();
    let mut asker = Asker::new(&server);
    let (mut lines, mut pairs, mut answered) = (String::new(), 0, 0);
    for api in advertised(&server, 4) {
        let key = ApiKey::try_from(api.api_key).unwrap();
        let mut served = api.min_version..=api.max_version;
        pairs += served.clone().count();
        let mut note = "";
        if key == ApiKey::Produce {
            (api.min_version..PRODUCE_SERVED_FROM)
                .for_each(|version| assert_closed_after_produce(&server, version));
            served = PRODUCE_SERVED_FROM..=api.max_version;
            note = " (0 to 2: advertised and refused, as by Kafka)";
        }
        for version in served.clone() {
            asker.ask(key, version).unwrap_or_else(|error| panic!("{key:?} version {version}: {error:#}"));
            assert!(asker.take_sent().contains(&(api.api_key, version)), "{key:?} {version} was not sent");
        }
        answered += served.clone().count();
        lines += &format!("{key:?} ({}): {} to {}{note}\n", api.api_key, served.start(), served.end());
    }
    assert_eq!(pairs, answered + usize::try_from(PRODUCE_SERVED_FROM).unwrap());
    let list = format!("\n{lines}{answered} advertised pairs of API and version were sent and answered\n");
    // Past the test harness, which keeps back what tests that pass print: the list is to be seen in every run.
    std::io::stdout().write_all(list.as_bytes()).unwrap();
}

#[test]
fn the_broker_advertises_what_the_table_says_and_nothing_else() {
    let server = TestServer::start();
    for version in 0..=4 {
        let told: Vec<_> = advertised(&server, version)
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let table: Vec<_> =
            SUPPORTED.iter().map(|api| (api.key as i16, api.advertised.min, api.advertised.max)).collect();
        assert_eq!(told, table);
    }
}

#[test]
fn produce_is_the_only_api_that_is_advertised_wider_than_it_is_served() {
    for api in SUPPORTED {
        match api.key {
            ApiKey::Produce => assert_eq!(api.handled.min, PRODUCE_SERVED_FROM),
            _ => assert_eq!(api.advertised, api.handled, "{:?}", api.key),
        }
    }
}
