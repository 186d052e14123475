//! What nodes have sent to each other, as their own counters tell.

use crate::api::Api;
use crate::error::{CliError, Result};

/// Bytes that nodes have sent so far, each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Over all transports.
    all: Vec<u64>,
    /// Of them what members say to each other on streams, without what the network puts around it.
    streams: Vec<u64>,
}

impl Sent {
    /// Asks all nodes.
    ///
    /// # Errors
    /// If one does not answer, or keeps no such counters.
    pub async fn so_far(apis: &[Api]) -> Result<Self> {
        let (mut all, mut streams) = (Vec::new(), Vec::new());
        for api in apis {
            let answer = api.call(reqwest::Method::GET, "/metrics", Vec::new(), &[]).await?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let missing =
                || CliError::failed(format!("{} does not count what it sends", api.url()));
            all.push(
                sum(&text, "quorate_transport_bytes_total", "direction=\"out\"")
                    .ok_or_else(missing)?,
            );
            streams.push(sum(&text, "rex_out_bytes_total", "").ok_or_else(missing)?);
        }
        Ok(Self { all, streams })
    }

    /// What each sent since `before`, in Mbit/s: in all, and on streams.
    #[must_use]
    pub fn mbit_since(&self, before: &Self, seconds: f64) -> (Vec<f64>, Vec<f64>) {
        let rate = |now: &[u64], before: &[u64]| {
            let sent = now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before));
            sent.map(|bytes| bytes as f64 * 8.0 / 1e6 / seconds).collect()
        };
        (rate(&self.all, &before.all), rate(&self.streams, &before.streams))
    }
}

/// The sum of a counter over its labels, where they hold `label`; `None` if it is not there.
fn sum(text: &str, name: &str, label: &str) -> Option<u64> {
    let values: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter_map(|rest| rest.rsplit_once(' '))
        .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
        .filter(|(labels, _)| labels.contains(label))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::{Sent, sum};

    const TEXT: &str = "# TYPE sent_total counter\nsent_total{a=\"tcp\",b=\"out\"} 5\n\
                        sent_total{a=\"udp\",b=\"out\"} 2\nsent_total{a=\"tcp\",b=\"in\"} 9\n\
                        sent_total_more 70\nplain_total 3\n";

    #[test]
    fn a_counter_is_summed_over_its_labels() {
        assert_eq!(sum(TEXT, "sent_total", "b=\"out\""), Some(7));
        assert_eq!(sum(TEXT, "plain_total", ""), Some(3));
        assert_eq!(sum(TEXT, "absent_total", ""), None);
    }

    #[test]
    fn a_rate_is_what_was_sent_meanwhile() {
        let before = Sent { all: vec![1_000_000], streams: vec![0] };
        let now = Sent { all: vec![2_000_000], streams: vec![250_000] };
        assert_eq!(now.mbit_since(&before, 4.0), (vec![2.0], vec![0.5]));
    }
}
