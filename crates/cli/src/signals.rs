//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Ends when this process is asked to stop.
///
/// # Panics
/// If the operating system refuses signal handlers.
pub async fn stop() {
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be handled");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
