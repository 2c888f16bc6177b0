use super::*;
use tidemill_guest::testing::{self, TestRecord};

fn quake(magnitude: &str, place: &str) -> TestRecord {
    let json = format!(
        r#"{{"type":"Feature","id":"ci1","properties":{{"mag":{magnitude},"place":"{place}","time":1700000000000}},
            "geometry":{{"type":"Point","coordinates":[-117.5,35.7,8.1]}}}}"#
    );
    TestRecord::new("ci1", json)
}

fn processor() -> QuakeAlerts {
    QuakeAlerts::init(&testing::context()).unwrap()
}

#[test]
fn a_small_quake_is_classified_and_keyed_by_region() {
    let outputs = testing::run(&mut processor(), &[quake("2.1", "12 km NE of Ridgecrest, CA")]).unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].topic.as_str(), outputs[0].key_str()), ("quakes.classified", "CA"));
    assert!(outputs[0].value_str().contains(r#""class":"micro""#));
}

#[test]
fn a_large_quake_goes_to_the_alerts_as_well() {
    let outputs = testing::run(&mut processor(), &[quake("7.4", "Fiji region")]).unwrap();
    let topics: Vec<_> = outputs.iter().map(|output| output.topic.as_str()).collect();
    assert_eq!(topics, ["quakes.classified", "quakes.alerts"]);
    assert_eq!(outputs[1].key_str(), "Fiji region");
    assert_eq!(outputs[1].headers, [("class".to_owned(), Some(b"major".to_vec()))]);
}

#[test]
fn the_threshold_of_alerts_is_configured() {
    testing::set_config(&[("alert.magnitude", "2")]);
    assert_eq!(testing::run(&mut processor(), &[quake("2.1", "Fiji")]).unwrap().len(), 2);
    testing::set_config(&[("alert.magnitude", "much")]);
    assert!(QuakeAlerts::init(&testing::context()).is_err());
    testing::set_config(&[]);
}

#[test]
fn records_that_are_no_quake_are_rejected_by_index() {
    let records = [quake("1", "Fiji"), TestRecord::new("k", "not json")];
    let (index, error) = testing::run(&mut processor(), &records).unwrap_err();
    assert_eq!((index, error.reason), (1, tidemill_guest::Reason::Reject));
    assert!(testing::run(&mut processor(), &[quake("null", "Fiji")]).is_err());
}
