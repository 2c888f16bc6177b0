//! Sends one greeting and waits until it is stored.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::var("BOOTSTRAP").unwrap_or_else(|_| "localhost:9092".to_owned());
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").create()?;
    let record = FutureRecord::to("greetings").key("rdkafka").payload("hello from rdkafka");
    let stored = producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    println!("stored at greetings-{}@{}", stored.partition, stored.offset);
    Ok(())
}
