//! Where the nodes are and how far from each other: regions, round-trip times, lines.

use serde::{Deserialize, Serialize};

/// A line's bandwidth that is as good as none.
pub const NO_LIMIT_MBIT: u64 = 100_000;

/// The network between nodes, as a TOML file describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Names of the regions. Nodes are assigned to them in turn.
    pub regions: Vec<String>,
    /// Round-trip times in milliseconds, a row for each region: `rtt_ms[a][b]` from a to b. The
    /// diagonal is the time between two nodes of one region.
    pub rtt_ms: Vec<Vec<f64>>,
    /// What a node's line carries out, in Mbit/s.
    pub bandwidth_mbit: u64,
    /// A packet takes up to so many percent of its delay longer, evenly drawn.
    #[serde(default)]
    pub jitter_percent: u64,
    /// Packets are on this machine's own network, all nodes share its cores and disk, and so do the
    /// clients.
    #[serde(default)]
    pub one_machine: bool,
}

/// Why a file of conditions cannot be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ConditionsError {
    /// It is no TOML, or lacks a field, or has one that is not known.
    #[error("{0}")]
    Toml(String),
    /// A field says something impossible.
    #[error("{field}: {why}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Conditions {
    /// Eight regions of a public cloud: `vectors/wan.toml`.
    ///
    /// # Panics
    /// Never: a test reads the file.
    #[must_use]
    pub fn wan() -> Self {
        Self::parse(include_str!("../../../../vectors/wan.toml")).expect("the file is good")
    }

    /// Nodes that are processes on one machine: 0.05 ms there and back.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            regions: vec!["loopback".to_owned()],
            rtt_ms: vec![vec![0.05]],
            bandwidth_mbit: NO_LIMIT_MBIT,
            jitter_percent: 0,
            one_machine: true,
        }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ConditionsError`] names the field.
    pub fn parse(text: &str) -> Result<Self, ConditionsError> {
        let conditions: Self = toml::from_str(text)
            .map_err(|error| ConditionsError::Toml(error.to_string().trim().to_owned()))?;
        conditions.check()?;
        Ok(conditions)
    }

    /// Checks that the fields fit each other.
    ///
    /// # Errors
    /// [`ConditionsError::Field`].
    pub fn check(&self) -> Result<(), ConditionsError> {
        let wrong =
            |field: &str, why: String| Err(ConditionsError::Field { field: field.to_owned(), why });
        let count = self.regions.len();
        if count == 0 {
            return wrong("regions", "there must be at least one".to_owned());
        }
        if self.rtt_ms.len() != count {
            return wrong("rtt_ms", format!("{count} regions, {} rows", self.rtt_ms.len()));
        }
        for (a, row) in self.rtt_ms.iter().enumerate() {
            if row.len() != count {
                return wrong(
                    &format!("rtt_ms[{a}]"),
                    format!("{count} regions, {} figures", row.len()),
                );
            }
            for (b, ms) in row.iter().enumerate() {
                if !ms.is_finite() || !(0.0..=60_000.0).contains(ms) {
                    let why = format!("{ms} is not between 0 and 60000");
                    return wrong(&format!("rtt_ms[{a}][{b}]"), why);
                }
            }
        }
        if self.bandwidth_mbit == 0 || self.bandwidth_mbit > NO_LIMIT_MBIT {
            let why = format!("{} is not between 1 and {NO_LIMIT_MBIT}", self.bandwidth_mbit);
            return wrong("bandwidth_mbit", why);
        }
        if self.jitter_percent > 1_000 {
            let why = format!("{} is above 1000", self.jitter_percent);
            return wrong("jitter_percent", why);
        }
        Ok(())
    }

    /// How long a packet travels from one node to another, without jitter, in microseconds.
    #[must_use]
    pub fn travel_us(&self, from: usize, to: usize) -> u64 {
        let count = self.regions.len();
        (self.rtt_ms[from % count][to % count] * 500.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Conditions;

    const GOOD: &str = "regions = [\"a\", \"b\"]\nrtt_ms = [[1, 80.5], [80, 2]]\n\
                        bandwidth_mbit = 100\n";

    #[test]
    fn the_default_file_is_good_and_symmetrical() {
        let wan = Conditions::wan();
        assert_eq!(wan.regions.len(), 8);
        for (a, row) in wan.rtt_ms.iter().enumerate() {
            row.iter().zip(0..).for_each(|(ms, b)| assert_eq!(*ms, wan.rtt_ms[b][a]));
        }
    }

    #[test]
    fn nodes_are_assigned_to_regions_in_turn() {
        let conditions = Conditions::parse(GOOD).expect("it is good");
        assert_eq!(conditions.travel_us(0, 1), 40_250);
        assert_eq!(conditions.travel_us(3, 2), 40_000);
        assert_eq!(conditions.travel_us(0, 2), 500);
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_name_of_the_field() {
        for (from, to, field) in [
            ("bandwidth_mbit = 100", "", "bandwidth_mbit"),
            ("bandwidth_mbit = 100", "bandwidth_mbit = 0", "bandwidth_mbit"),
            ("bandwidth_mbit = 100", "bandwidth = 100", "bandwidth"),
            ("80.5", "-1", "rtt_ms[0][1]"),
            ("[80, 2]", "[80]", "rtt_ms[1]"),
            (", [80, 2]", "", "rtt_ms"),
            ("[\"a\", \"b\"]", "[]", "regions"),
            ("[\"a\", \"b\"]", "7", "regions"),
        ] {
            let text = GOOD.replace(from, to);
            let error = Conditions::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
