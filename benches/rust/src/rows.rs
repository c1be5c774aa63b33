//! Results: lines of JSON for `benches/run.py`, or text.

use serde_json::json;

/// Prints results as they come.
pub struct Rows {
    part: &'static str,
    json: bool,
}

impl Rows {
    /// `json`: a line of JSON for each, else text.
    pub fn new(part: &'static str, json: bool) -> Rows {
        Rows { part, json }
    }

    /// The median of samples of one `name` in one `case`; `x` is where it stands on a plot's axis.
    pub fn median(&self, case: &str, name: &str, x: f64, unit: &str, samples: &[f64]) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        self.value(case, name, x, unit, super::median(&sorted));
    }

    /// One number.
    pub fn value(&self, case: &str, name: &str, x: f64, unit: &str, value: f64) {
        if self.json {
            let row = json!({"part": self.part, "case": case, "name": name, "x": x, "unit": unit, "value": value});
            println!("{row}");
        } else {
            println!("{case:<32} {name:<34}{x:>9} {value:>12.2} {unit}");
        }
    }

    /// Something that was left out, and why.
    pub fn skipped(&self, case: &str, why: &str) {
        if self.json {
            println!("{}", json!({"part": self.part, "case": case, "skipped": why}));
        } else {
            println!("{case:<44} skipped: {why}");
        }
    }
}
