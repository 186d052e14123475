//! A signed-Raft group (a service) on the nodes of a cluster: how it comes up, grows and shrinks.

use std::time::Duration;

use serde_json::Value;

use super::NodeProcess;
use crate::error::{CliError, Result};
use crate::output::text;
use crate::service::{MemberInfo, Members, Service};
use crate::wait::{Look, look, until};

/// How long a step may take that needs a few round trips, or an election.
const LIMIT: Duration = Duration::from_secs(60);

/// A node in the service.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The name of its process.
    pub name: String,
    /// Its id in the service.
    pub node_id: String,
    /// The service as it shows it.
    pub service: Service,
}

/// A service and the nodes that are in it or want to be.
#[derive(Clone, Debug)]
pub struct ServiceGroup {
    /// Id of the group.
    pub id: String,
    /// Seed URL.
    pub seed: String,
    /// The nodes.
    pub nodes: Vec<Joined>,
}

impl ServiceGroup {
    /// Creates a service of one node.
    ///
    /// # Errors
    /// If the node refuses, or the service does not open in time.
    pub async fn create(first: &NodeProcess, name: &str) -> Result<Self> {
        let created = first.api().create_group(name, "quorate_dev", "cft", true).await?;
        let mut group = Self {
            id: text(&created, "group_id").to_owned(),
            seed: text(&created, "seed").to_owned(),
            nodes: Vec::new(),
        };
        group.know(first).await?;
        let service = group.nodes[0].service.clone();
        until("the service opening", LIMIT, || async {
            match service.network().await {
                Ok(network) if text(&network, "service_status") == "Open" => Look::Done(()),
                Ok(network) => Look::NotYet(text(&network, "service_status").to_owned()),
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?;
        group.trusted(1).await?;
        Ok(group)
    }

    /// Lets a node join by the seed, and waits until the service knows it: then it is pending.
    ///
    /// # Errors
    /// If the node refuses, or nobody hears of it in time.
    pub async fn join(&mut self, node: &NodeProcess) -> Result<()> {
        node.api().join_group(&self.seed).await?;
        self.came(node).await
    }

    /// A node that came back as another one: waits until the service knows it. The one that it was is
    /// not asked any more.
    ///
    /// # Errors
    /// If nobody hears of it in time.
    pub async fn rejoin(&mut self, node: &NodeProcess) -> Result<()> {
        self.forget(node.name());
        self.came(node).await
    }

    async fn came(&mut self, node: &NodeProcess) -> Result<()> {
        self.know(node).await?;
        let id = self.nodes.last().expect("one was added").node_id.clone();
        let what = format!("{} pending in the service", node.name());
        until(&what, LIMIT, || async {
            let Ok(members) = self.members().await else {
                return Look::NotYet("no node answers".to_owned());
            };
            match members.nodes.iter().find(|n| n.node_id == id) {
                Some(_) => Look::Done(()),
                None => Look::NotYet(format!("{} nodes", members.nodes.len())),
            }
        })
        .await?;
        Ok(())
    }

    async fn know(&mut self, node: &NodeProcess) -> Result<()> {
        let service = Service::new(node.api(), Some(&self.id));
        let what = format!("{} having an id in the service", node.name());
        let state = until(&what, LIMIT, || async {
            look(service.state().await.map(|s| (!text(&s, "node_id").is_empty()).then_some(s)))
        })
        .await?;
        let node_id = text(&state, "node_id").to_owned();
        self.nodes.push(Joined { name: node.name().to_owned(), node_id, service });
        Ok(())
    }

    /// The node of a name.
    ///
    /// # Panics
    /// If it is not in the service.
    #[must_use]
    pub fn node(&self, name: &str) -> &Joined {
        self.nodes.iter().find(|n| n.name == name).expect("the node joined")
    }

    /// The members as the first node shows them that answers.
    ///
    /// # Errors
    /// If none answers.
    pub async fn members(&self) -> Result<Members> {
        self.members_without(&[]).await
    }

    /// As [`ServiceGroup::members`], but nodes that leave are not asked.
    async fn members_without(&self, leaving: &[String]) -> Result<Members> {
        let mut last = CliError::failed("the service has no nodes");
        for node in self.nodes.iter().filter(|n| !leaving.contains(&n.node_id)) {
            match node.service.members().await {
                Ok(members) => return Ok(members),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Leaves a node out of everything from now on: it is removed, or its process is gone.
    pub fn forget(&mut self, name: &str) {
        self.nodes.retain(|n| n.name != name);
    }

    /// Waits for a leader that is known, and that answers for itself.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn leader(&self) -> Result<&Joined> {
        let found = until("a leader", LIMIT, || async {
            for (n, node) in self.nodes.iter().enumerate() {
                let Ok(members) = node.service.members().await else { continue };
                if members.leader().is_some_and(|l| l.node_id == node.node_id) {
                    return Look::Done(n);
                }
            }
            Look::NotYet("nobody says to lead".to_owned())
        })
        .await?;
        Ok(&self.nodes[found])
    }

    /// Waits until the leader shows so many trusted nodes, none of them behind by more than what is
    /// on its way, and no change under way; the members.
    ///
    /// # Errors
    /// If it does not come to that in time.
    pub async fn trusted(&self, count: usize) -> Result<Members> {
        let what = format!("{count} trusted nodes");
        let members = until(&what, LIMIT, || async {
            match self.members().await {
                Ok(m) if settled(&m) && m.of("Trusted").count() == count => Look::Done(m),
                Ok(m) => {
                    let states: Vec<&str> = m.nodes.iter().map(|n| n.status.as_str()).collect();
                    Look::NotYet(format!("{}, change {:?}", states.join(", "), m.change))
                }
                Err(error) => Look::NotYet(error.to_string()),
            }
        })
        .await?;
        Ok(members)
    }

    /// Changes the nodes through the leader, and waits until the change is committed.
    ///
    /// # Errors
    /// If it is refused, aborted, or not committed in time.
    pub async fn change(&self, add: &[&str], remove: &[&str]) -> Result<()> {
        let ids = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| self.node(name).node_id.clone()).collect()
        };
        let (add, remove) = (ids(add), ids(remove));
        let leader = self.leader().await?;
        leader.service.change(&add, &remove).await?;
        self.changed(&add, &remove).await
    }

    async fn changed(&self, add: &[String], remove: &[String]) -> Result<()> {
        until("the change of nodes", LIMIT, || async {
            let members = match self.members_without(remove).await {
                Ok(members) => members,
                Err(error) => return Look::NotYet(error.to_string()),
            };
            let status = |id: &String| members.nodes.iter().find(|n| n.node_id == *id);
            let trusted = |n: &MemberInfo| n.status == "Trusted";
            let is_in = add.iter().all(|id| status(id).is_some_and(trusted));
            let is_out = remove.iter().all(|id| !status(id).is_some_and(trusted));
            if settled(&members) && is_in && is_out {
                return Look::Done(Ok(()));
            }
            match change_state(&members) {
                "Aborted" => Look::Done(Err(CliError::failed("the change was aborted"))),
                state => Look::NotYet(state.to_owned()),
            }
        })
        .await?
    }

    /// Starts `count` nodes' worth of service: the first creates, the others join and are added.
    ///
    /// # Errors
    /// If a step is not done.
    pub async fn form(nodes: &[NodeProcess], name: &str) -> Result<Self> {
        let (first, others) = nodes.split_first().expect("a service has a node");
        let mut group = Self::create(first, name).await?;
        for node in others {
            group.join(node).await?;
        }
        let names: Vec<&str> = others.iter().map(NodeProcess::name).collect();
        if !names.is_empty() {
            group.change(&names, &[]).await?;
        }
        group.trusted(nodes.len()).await?;
        Ok(group)
    }

    /// Waits until every one of these nodes has committed what the furthest had when this was
    /// called.
    ///
    /// # Errors
    /// If one does not in time.
    pub async fn level(&self, names: &[&str]) -> Result<u64> {
        let mut head = 0;
        for name in names {
            head = head.max(seqno(&self.node(name).service.commit().await?));
        }
        for name in names {
            let what = format!("seqno {head} committed on {name}");
            until(&what, LIMIT, || async {
                match self.node(name).service.commit().await {
                    Ok(id) if seqno(&id) >= head => Look::Done(()),
                    Ok(id) => Look::NotYet(id),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await?;
        }
        Ok(head)
    }
}

/// The place in the log that a transaction id names; 0 if it is none.
fn seqno(id: &str) -> u64 {
    id.split_once('.').and_then(|(_, seqno)| seqno.parse().ok()).unwrap_or_default()
}

fn change_state(members: &Members) -> &str {
    members.change.as_ref().map_or("", |change: &Value| text(change, "state"))
}

/// Whether no change is under way.
fn settled(members: &Members) -> bool {
    matches!(change_state(members), "" | "Committed" | "Aborted")
}
