//! Posts that go on while something else happens to the network.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Api;
use crate::error::{CliError, Result};

/// What became of the posts so far.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// Ids of those that a node acknowledged: they must never be lost.
    pub trxs: Vec<String>,
    /// How many were not acknowledged.
    pub refused: usize,
    /// Why the last of them was not.
    pub trouble: String,
}

/// Posts to nodes, one after the other, until it is told to stop.
#[derive(Debug)]
pub struct Poster {
    state: watch::Receiver<Posted>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Poster {
    /// Starts posting, to each of the nodes in turn.
    ///
    /// # Panics
    /// If there is no node.
    #[must_use]
    pub fn start(apis: Vec<Api>, group: &str, every: Duration) -> Self {
        assert!(!apis.is_empty(), "posts go to nodes");
        let (sender, state) = watch::channel(Posted::default());
        let (stop, mut stopped) = watch::channel(false);
        let group = group.to_owned();
        let task = tokio::spawn(async move {
            let mut tick = interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for n in 0.. {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = stopped.changed() => return,
                }
                let api = &apis[n % apis.len()];
                let result = api.post_content(&group, &note(&format!("post {n}"))).await;
                sender.send_modify(|posted| match result {
                    Ok(trx) => posted.trxs.push(trx),
                    Err(error) => {
                        posted.refused += 1;
                        posted.trouble = error.to_string();
                    }
                });
            }
        });
        Self { state, stop, task }
    }

    /// How many were acknowledged so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.borrow().trxs.len()
    }

    /// What became of them so far.
    #[must_use]
    pub fn posted(&self) -> Posted {
        self.state.borrow().clone()
    }

    /// Stops; what became of them all.
    ///
    /// # Errors
    /// If posting ended before.
    pub async fn finish(self) -> Result<Posted> {
        // A post that is under way is waited for: it may have been acknowledged.
        let _ = self.stop.send(true);
        self.task.await.map_err(|e| CliError::failed(format!("posting ended early: {e}")))?;
        Ok(self.state.borrow().clone())
    }
}

/// A post as applications make them.
#[must_use]
pub fn note(content: &str) -> Value {
    json!({ "type": "Create", "object": { "type": "Note", "content": content } })
}
