//! A group on the nodes of a cluster: the steps that bring it up, and what must be the same on all
//! of its nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::NodeProcess;
use crate::api::{Api, Change, ConsensusInfo};
use crate::error::{CliError, Result};
use crate::output::text;
use crate::wait::{Look, look, until};

/// How long anything may take that is a matter of a few epochs.
const LIMIT: Duration = Duration::from_secs(60);

impl From<crate::wait::Late> for CliError {
    fn from(late: crate::wait::Late) -> Self {
        Self::failed(late.to_string())
    }
}

/// A node in the group.
#[derive(Clone, Debug)]
pub struct Member {
    /// The node's name.
    pub name: String,
    /// Its API.
    pub api: Api,
    /// Its key in the group.
    pub key: String,
}

/// A group and its nodes, the owner first.
#[derive(Clone, Debug)]
pub struct Group {
    /// Id.
    pub id: String,
    /// Seed URL.
    pub seed: String,
    /// Its nodes.
    pub members: Vec<Member>,
}

/// A group whose committee was changed.
#[derive(Clone, Debug)]
pub struct Formed {
    /// Id of the CONSENSUS trx.
    pub trx_id: String,
    /// The configuration it made.
    pub consensus: ConsensusInfo,
}

impl Group {
    /// Creates a group through a node's API.
    ///
    /// # Errors
    /// If the node refuses.
    pub async fn create(owner: &NodeProcess, name: &str) -> Result<Self> {
        let api = owner.api();
        let created = api.create_group(name, "quorate_dev", "poa", true).await?;
        let mut group = Self {
            id: text(&created, "group_id").to_owned(),
            seed: text(&created, "seed").to_owned(),
            members: Vec::new(),
        };
        group.add(owner).await?;
        Ok(group)
    }

    /// Lets a node join, and waits until it has the group's genesis.
    ///
    /// # Errors
    /// If the node refuses, or hears nothing of the group in time.
    pub async fn join(&mut self, node: &NodeProcess) -> Result<()> {
        node.api().join_group(&self.seed).await?;
        self.add(node).await
    }

    async fn add(&mut self, node: &NodeProcess) -> Result<()> {
        let api = node.api();
        let what = format!("{} knowing who orders the group", node.name());
        until(&what, LIMIT, || async {
            look(api.is_ready(&self.id).await.map(|ready| ready.then_some(())))
        })
        .await?;
        let key = api.group(&self.id).await?.user_pubkey;
        self.members.push(Member { name: node.name().to_owned(), api, key });
        Ok(())
    }

    /// The owner's node.
    ///
    /// # Panics
    /// Never: a group has its owner's node from the start.
    #[must_use]
    pub fn owner(&self) -> &Member {
        self.members.first().expect("a group has its owner's node")
    }

    /// The node of a name.
    ///
    /// # Panics
    /// If it is not in the group.
    #[must_use]
    pub fn member(&self, name: &str) -> &Member {
        self.members.iter().find(|m| m.name == name).expect("the node is in the group")
    }

    /// Lets these nodes announce themselves as producers, and waits until every node of the group
    /// knows it.
    ///
    /// # Errors
    /// If a node refuses, or it is not ordered in time.
    pub async fn announce(&self, names: &[String]) -> Result<()> {
        let mut keys = Vec::new();
        for name in names {
            let member = self.member(name);
            member.api.announce(&self.id, "producer", "add", "wants to produce").await?;
            keys.push(member.key.clone());
        }
        for member in &self.members {
            let what = format!("{} knowing all announced producers", member.name);
            until(&what, LIMIT, || async {
                match member.api.announced_producers(&self.id).await {
                    Ok(known) if keys.iter().all(|k| known.contains(k)) => Look::Done(()),
                    Ok(known) => Look::NotYet(format!("{} announced", known.len())),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Changes the consensus through the owner's node, and waits until every node of the group has
    /// the trx and the new configuration.
    ///
    /// # Errors
    /// If the owner's node refuses, or the change is not made in time.
    pub async fn change(&self, change: &Change) -> Result<Formed> {
        let started = self.owner().api.change_consensus(&self.id, change).await?;
        let trx_id = text(&started, "trx_id").to_owned();
        let limit = LIMIT + Duration::from_millis(change.agreement_tick * change.agreement_count);
        let known = self.proofs(self.owner()).await?.len();
        for member in &self.members {
            let what = format!("the consensus change on {}", member.name);
            until(&what, limit, || async {
                // Either the promised trx is ordered, or there is a result that is no success.
                match self.proofs(member).await {
                    Ok(proofs) if ended_badly(proofs.get(known..)) => Look::Done(Ok(None)),
                    _ => match member.api.trx(&self.id, &trx_id).await {
                        Ok(Some(trx)) => Look::Done(Ok(Some(trx))),
                        Ok(None) => Look::NotYet("not ordered".to_owned()),
                        Err(error) => Look::NotYet(error.to_string()),
                    },
                }
            })
            .await?
            .and_then(|trx| {
                trx.ok_or_else(|| CliError::failed("the agreement ended without success"))
            })?;
            until(&what, LIMIT, || async {
                match member.api.consensus(&self.id).await {
                    Ok(now) if now.keys() == change.producers => Look::Done(()),
                    Ok(now) => Look::NotYet(format!("{} producers", now.producers.len())),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await?;
        }
        let consensus = self.owner().api.consensus(&self.id).await?;
        Ok(Formed { trx_id, consensus })
    }

    /// All proofs that a node knows, by nonce.
    async fn proofs(&self, member: &Member) -> Result<Vec<Value>> {
        let history = member.api.proof(&self.id, "history").await?;
        Ok(history["proofs"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a node has all of these trxs in certified blocks.
    ///
    /// # Errors
    /// If one is not there in time.
    pub async fn packaged(&self, api: &Api, trxs: &[String], limit: Duration) -> Result<()> {
        for trx in trxs {
            let what = format!("trx {trx} in a block");
            until(&what, limit, || async { look(api.trx(&self.id, trx).await) }).await?;
        }
        Ok(())
    }

    /// Waits until every node of the group is at least at the head of the one that is furthest;
    /// that head.
    ///
    /// # Errors
    /// If one does not get there in time.
    pub async fn level(&self) -> Result<u64> {
        let mut head = 0;
        for member in &self.members {
            head = head.max(member.api.consensus(&self.id).await?.curr_block_id);
        }
        for member in &self.members {
            let what = format!("block {head} on {}", member.name);
            until(&what, LIMIT, || async {
                match member.api.consensus(&self.id).await {
                    Ok(now) if now.curr_block_id >= head => Look::Done(()),
                    Ok(now) => Look::NotYet(format!("block {}", now.curr_block_id)),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await?;
        }
        Ok(head)
    }

    /// The proof of the last change, the same on every node.
    ///
    /// # Errors
    /// If a node has another one.
    pub async fn same_proof(&self) -> Result<Value> {
        let first = self.owner().api.proof(&self.id, "last").await?;
        for member in &self.members {
            let other = member.api.proof(&self.id, "last").await?;
            if other != first {
                return Err(CliError::failed(format!(
                    "{} has another last proof than {}",
                    member.name,
                    self.owner().name
                )));
            }
        }
        Ok(first)
    }
}

/// Checks that every node of a group has the same blocks up to a head, linked to each other, and
/// that no trx is in two of them: the trxs, with their blocks.
///
/// # Errors
/// The first difference.
pub async fn same_blocks(group: &Group, head: u64) -> Result<BTreeMap<String, u64>> {
    let mut trxs = BTreeMap::new();
    let mut previous = String::new();
    for id in 0..=head {
        let mut first: Option<Value> = None;
        for member in &group.members {
            let block = member.api.block(&group.id, id).await?;
            let block = block
                .ok_or_else(|| CliError::failed(format!("{} has no block {id}", member.name)))?;
            match &first {
                None => first = Some(block),
                Some(other) if linked(other) == linked(&block) => {}
                Some(other) => {
                    return Err(CliError::failed(format!(
                        "block {id} on {} is {}, on {} {}",
                        group.owner().name,
                        text(other, "BlockHash"),
                        member.name,
                        text(&block, "BlockHash"),
                    )));
                }
            }
        }
        let block = first.expect("a group has nodes");
        if text(&block, "PrevHash") != previous {
            return Err(CliError::failed(format!("block {id} does not follow block {}", id - 1)));
        }
        text(&block, "BlockHash").clone_into(&mut previous);
        for trx in block["Trxs"].as_array().into_iter().flatten() {
            let trx = text(trx, "TrxId").to_owned();
            if let Some(before) = trxs.insert(trx.clone(), id) {
                let twice = format!("trx {trx} is in block {before} and in block {id}");
                return Err(CliError::failed(twice));
            }
        }
    }
    Ok(trxs)
}

/// Whether the last of new proofs says that a change failed.
fn ended_badly(new: Option<&[Value]>) -> bool {
    new.and_then(<[Value]>::last).is_some_and(|last| text(last, "result") != "SUCCESS")
}

/// What must be equal in a block everywhere: all but who signed it, since any `2f + 1` producers
/// make a certificate.
fn linked(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(object) = block.as_object_mut() {
        object.remove("ProducerPubkey");
        object.remove("ProducerSign");
        if let Some(own) = object.get_mut("Quorate").and_then(Value::as_object_mut) {
            own.remove("certificate");
        }
    }
    block
}
