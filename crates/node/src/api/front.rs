//! What a connection speaks to: the fast path of services, and the router for all the rest.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use axum::serve::IncomingStream;
use tower::Service;

use super::door::Door;
use super::{Context, context, router, service};
use crate::node::{Node, NodeKind};

/// Makes a [`Lane`] for each connection.
#[derive(Clone)]
pub struct Front {
    context: Context,
    router: Router,
    services: bool,
}

impl Front {
    /// The API of a node.
    pub fn new(node: Node) -> Self {
        let services = node.inner().kind == NodeKind::Full;
        let context = context(node);
        Self { router: router(context.clone()), context, services }
    }

    /// The API as a caller from this address sees it.
    pub fn lane(&self, peer: SocketAddr) -> Lane {
        Lane { front: self.clone(), peer }
    }
}

impl Service<IncomingStream<'_, Door>> for Front {
    type Response = Lane;
    type Error = Infallible;
    type Future = Ready<Result<Lane, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Door>) -> Self::Future {
        ready(Ok(self.lane(*stream.remote_addr())))
    }
}

/// One connection.
#[derive(Clone)]
pub struct Lane {
    front: Front,
    peer: SocketAddr,
}

impl Service<Request<Body>> for Lane {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = self.peer;
        if self.front.services && service::is_key(request.uri().path()) {
            let context = self.front.context.clone();
            return Box::pin(async move { Ok(service::serve_key(&context, peer, request).await) });
        }
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = self.front.router.call(request);
        Box::pin(router)
    }
}
