//! Every version of every API that the broker advertises, sent over a socket: the answer must decode
//! at that version, use every byte, and say that it went well.

mod administration;
mod requests;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use tidemill::wire::api::SUPPORTED;

use crate::fixture::TestServer;
use requests::Asker;

#[test]
fn every_advertised_version_of_every_api_is_answered_in_its_own_encoding() {
    let server = TestServer::start();
    let mut asker = Asker::new(&server);
    let mut seen = Vec::new();
    for api in SUPPORTED {
        for version in api.handled.min..=api.handled.max {
            asker.ask(api.key, version).unwrap_or_else(|error| {
                panic!("{:?} version {version}: {error:#}", api.key);
            });
            seen.push(format!("{:?} v{version}", api.key));
        }
    }
    println!("{} pairs of API and version were answered: {}", seen.len(), seen.join(", "));
    let handled = SUPPORTED.iter().map(|api| usize::try_from(api.handled.max - api.handled.min + 1).unwrap());
    assert_eq!(seen.len(), handled.sum::<usize>());
}

#[test]
fn the_broker_advertises_what_the_table_says_and_nothing_else() {
    let server = TestServer::start();
    let mut client = server.wire();
    for version in 0..=4 {
        let request = match version {
            ..3 => ApiVersionsRequest::default(),
            3.. => ApiVersionsRequest::default()
                .with_client_software_name("it".into())
                .with_client_software_version("1".into()),
        };
        let response = client.call(version, &request).unwrap();
        assert_eq!(response.error_code, 0);
        let told: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let table: Vec<_> =
            SUPPORTED.iter().map(|api| (api.key as i16, api.advertised.min, api.advertised.max)).collect();
        assert_eq!(told, table);
    }
}

#[test]
fn produce_is_the_only_api_that_is_advertised_wider_than_it_is_served() {
    for api in SUPPORTED {
        if api.key != ApiKey::Produce {
            assert_eq!(api.advertised, api.handled, "{:?}", api.key);
        }
    }
}
