//! Logs and metrics.
//!
//! Logs go to standard error; standard output belongs to the commands. Metrics are kept in one
//! recorder per process and served at `GET /metrics`.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Added to a plain level.
const QUIET: &str = "libp2p_swarm=warn,libp2p_kad=error,libp2p_gossipsub=error,libp2p_mdns=error";

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level or filter is not one.
    #[error("log.level `{level}`: {why}; use error, warn, info, debug, trace or target=level")]
    Level {
        /// The text.
        level: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody has set up logging before.
    #[error("logging is set up already")]
    Twice,
}

/// Sets up logging for the process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(log: &LogConfig) -> Result<(), TelemetryError> {
    // A plain level is for this program; what libp2p says of other nodes' doings is noise.
    let text = if log.level.contains(['=', ',']) {
        log.level.clone()
    } else {
        format!("{},{QUIET}", log.level)
    };
    let filter = EnvFilter::try_new(text).map_err(|error| TelemetryError::Level {
        level: log.level.clone(),
        why: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let done = if log.json { builder.json().try_init() } else { builder.try_init() };
    done.map_err(|_| TelemetryError::Twice)
}

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The process's metrics; `None` if another recorder was installed before.
pub fn metrics() -> Option<&'static PrometheusHandle> {
    let handle = RECORDER.get_or_init(|| {
        let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let builder = PrometheusBuilder::new();
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).ok()?;
        // Clients expect these to be there from the start.
        for name in ["success_total", "failed_total", "in_bytes_total", "out_bytes_total"] {
            for space in ["pubsub", "rex"] {
                ::metrics::counter!(format!("{space}_{name}")).increment(0);
            }
        }
        Some(handle)
    });
    handle.as_ref()
}
