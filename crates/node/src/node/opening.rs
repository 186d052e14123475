//! Opens groups: the one place that knows which kind has which host.

use std::sync::Arc;

use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::view::Protocol;
use quorate_replica::cft::api::Input;

use super::files::Record;
use super::{Hosted, Node, NodeError, unsupported};
use crate::group::{Group, Opening};
use crate::host::Died;
use crate::p2p::{Delivery, Sink};
use crate::service::{self, Service};

impl Node {
    /// Opens a group and connects it to the network.
    pub(super) async fn open_group(
        &self,
        descriptor: GroupDescriptor,
        create: bool,
    ) -> Result<Hosted, NodeError> {
        let id = descriptor.id;
        let member = self.inner.keystore.group_keys(id)?.member;
        let opened = self.clone();
        let open = tokio::task::spawn_blocking(move || opened.open_hosted(descriptor, create));
        let group = open.await.map_err(|_| NodeError::Stopping)??;
        if create
            && group.is_durable()
            && let Some(record) = self.inner.files.read(id)?
        {
            self.inner.files.write(id, &Record { create: false, ..record })?;
        }
        self.inner.groups.write().insert(id, group.clone());
        self.choose_main();
        self.inner.network.join(id, member, self.sink(&group)).await?;
        Ok(group)
    }

    /// Opens a group with what orders it. Blocks.
    fn open_hosted(&self, descriptor: GroupDescriptor, create: bool) -> Result<Hosted, NodeError> {
        let inner = &self.inner;
        let id = descriptor.id;
        let keys = inner.keystore.group_keys(id)?;
        let dir = inner.files.store(id);
        let sealing_key = inner.keystore.storage_key(id);
        let network = inner.network.clone();
        let stop = inner.stop.clone();
        let died: Died = Box::new(move |why| {
            tracing::error!(why, "a mistake of the program: the node ends");
            stop.send_replace(Some(why));
        });
        match descriptor.consensus {
            Protocol::Cft => {
                let keystore = Arc::clone(&inner.keystore);
                let config = inner.config.service.clone();
                let rpc_address = self.rpc_address();
                let opening = service::Opening {
                    descriptor,
                    keys,
                    create,
                    dir,
                    sealing_key,
                    keystore,
                    config,
                    rpc_address,
                    network,
                    died,
                };
                Ok(Hosted::Service(Arc::new(Service::open(opening)?)))
            }
            Protocol::Poa => {
                let events = inner.events.clone();
                let opening =
                    Opening { descriptor, keys, create, dir, sealing_key, network, events, died };
                Ok(Hosted::Group(Arc::new(Group::open(opening)?)))
            }
            Protocol::Bft | Protocol::Para => Err(unsupported()),
        }
    }

    /// Where clients find this node: `host:port`.
    fn rpc_address(&self) -> String {
        match &self.inner.config.api.public_url {
            Some(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                rest.split('/').next().unwrap_or(rest).to_owned()
            }
            None => self.inner.api_addr.to_string(),
        }
    }

    fn sink(&self, group: &Hosted) -> Sink {
        match group {
            Hosted::Service(service) => {
                let (seat, group) = (service.seat(), service.id());
                let network = self.inner.network.clone();
                Arc::new(move |delivery| match delivery {
                    Delivery::Connected(peer) => {
                        seat.packet(Input::Connected(peer), 0);
                    }
                    Delivery::Packet(incoming) => {
                        Service::receive(&seat, group, &network, incoming);
                    }
                })
            }
            Hosted::Group(group) => {
                let port = group.port();
                // Not the node itself: the network must not keep alive who owns it.
                let node = Arc::downgrade(&self.inner);
                Arc::new(move |delivery| match delivery {
                    Delivery::Connected(peer) => port.connected(peer),
                    Delivery::Packet(incoming) => {
                        if let Some(inner) = node.upgrade() {
                            inner.verifier.submit(Arc::clone(&port), incoming);
                        }
                    }
                })
            }
        }
    }
}
