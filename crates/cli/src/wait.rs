//! Waiting for a condition: asking again and again, up to a deadline, never just letting time pass.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at. Short beside everything that is waited for.
const INTERVAL: Duration = Duration::from_millis(20);

/// What did not happen in time.
#[derive(Debug, thiserror::Error)]
#[error("{what} did not happen within {} s{last}", limit.as_secs_f32())]
pub struct Late {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub limit: Duration,
    /// What the last look at it said, as `; last answer: ...`.
    pub last: String,
}

/// One look at a condition.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    Done(T),
    /// Not yet, and this is how it stands.
    NotYet(String),
}

/// Looks at a condition until it holds.
///
/// # Errors
/// [`Late`] if it does not hold within the limit.
pub async fn until<T, F>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T, Late>
where
    F: Future<Output = Look<T>>,
{
    let deadline = Instant::now() + limit;
    let mut last = String::new();
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Look::Done(value)) => return Ok(value),
            Ok(Look::NotYet(state)) => last = format!("; last answer: {state}"),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(Late { what: what.to_owned(), limit, last });
        }
        sleep(INTERVAL).await;
    }
}

/// Turns a check of an API into a look: an error is "not yet", as is `None`.
pub fn look<T, E: std::fmt::Display>(result: Result<Option<T>, E>) -> Look<T> {
    match result {
        Ok(Some(value)) => Look::Done(value),
        Ok(None) => Look::NotYet("not there yet".to_owned()),
        Err(error) => Look::NotYet(error.to_string()),
    }
}
