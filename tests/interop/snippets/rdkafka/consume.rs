//! Prints greetings, and commits each that it has printed.

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::var("BOOTSTRAP").unwrap_or_else(|_| "localhost:9092".to_owned());
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "greeters-rdkafka")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&["greetings"])?;
    loop {
        let message = consumer.recv().await?;
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
        println!("{key}: {value}");
        consumer.commit_message(&message, CommitMode::Sync)?;
    }
}
