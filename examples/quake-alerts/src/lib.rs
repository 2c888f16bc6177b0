//! Classifies earthquakes: takes one GeoJSON feature a record, as the USGS publishes them, and sends
//! a short form of every one to `quakes.classified`, keyed by region, and of large ones to `quakes.alerts`.

use serde::{Deserialize, Serialize};
use tidemill_guest::{Context, Error, Output, Processor, Record, config_or};

struct QuakeAlerts {
    alert_magnitude: f64,
}

#[derive(Deserialize)]
struct Feature {
    id: String,
    properties: Properties,
    geometry: Geometry,
}

#[derive(Deserialize)]
struct Properties {
    mag: Option<f64>,
    place: Option<String>,
    time: i64,
}

#[derive(Deserialize)]
struct Geometry {
    /// Longitude, latitude, depth in kilometres.
    coordinates: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Classified<'a> {
    id: &'a str,
    class: &'static str,
    magnitude: f64,
    region: &'a str,
    place: &'a str,
    longitude: Option<f64>,
    latitude: Option<f64>,
    depth_km: Option<f64>,
    time: i64,
}

impl Processor for QuakeAlerts {
    fn init(_: &Context) -> Result<QuakeAlerts, Error> {
        Ok(QuakeAlerts { alert_magnitude: config_or("alert.magnitude", 5.0)? })
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let Some(value) = record.value else { return Ok(()) };
        let quake: Feature = serde_json::from_slice(value)?;
        let magnitude = quake.properties.mag.ok_or_else(|| Error::reject("the quake has no magnitude"))?;
        let place = quake.properties.place.as_deref().unwrap_or("unknown");
        let coordinate = |at: usize| quake.geometry.coordinates.get(at).copied().flatten();
        let classified = Classified {
            id: &quake.id,
            class: class(magnitude),
            magnitude,
            region: region(place),
            place,
            longitude: coordinate(0),
            latitude: coordinate(1),
            depth_km: coordinate(2),
            time: quake.properties.time,
        };
        let json = serde_json::to_vec(&classified)?;
        out.send("quakes.classified", classified.region, &json).header("class", classified.class);
        if magnitude >= self.alert_magnitude {
            out.send("quakes.alerts", classified.region, &json).header("class", classified.class);
        }
        Ok(())
    }
}

/// The USGS's own names for ranges of magnitude.
fn class(magnitude: f64) -> &'static str {
    match magnitude {
        m if m >= 8.0 => "great",
        m if m >= 7.0 => "major",
        m if m >= 6.0 => "strong",
        m if m >= 5.0 => "moderate",
        m if m >= 4.0 => "light",
        m if m >= 3.0 => "minor",
        _ => "micro",
    }
}

/// "12 km NE of Ridgecrest, CA" lies in "CA"; a place without a comma is a region itself.
fn region(place: &str) -> &str {
    place.rsplit_once(", ").map_or(place, |(_, region)| region).trim()
}

tidemill_guest::processor!(QuakeAlerts);

#[cfg(test)]
mod tests;
