//! Tests of the protocol: a small deterministic network of members without bodies.

mod agreement;
mod broadcast;
mod byzantine;
mod codec;
mod crash;
mod epochs;
mod future;
mod golden;
mod keyed;
mod net;
mod proofs;
