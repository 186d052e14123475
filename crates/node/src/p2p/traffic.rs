//! How much this node sends and receives, counted where it meets the operating system.
//!
//! | counter | what it counts |
//! |---|---|
//! | `quorate_transport_bytes_total{transport, direction}` | bytes: of TCP all that connections carry, with what noise, yamux and every protocol put around what they say; of QUIC what its streams carry, without QUIC's own packets |
//! | `quorate_transport_writes_total{transport}` | how often bytes were handed over: each time begins a new IP packet, since nothing waits for more to come |
//!
//! What TCP, IP and the line put around that is the operating system's and is not counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use metrics::Counter;

/// Counters of a transport.
#[derive(Clone, Debug)]
pub struct Traffic {
    sent: Counter,
    received: Counter,
    writes: Counter,
}

impl Traffic {
    /// Those of a transport of this name.
    pub fn of(transport: &'static str) -> Self {
        let bytes = |direction: &'static str| {
            metrics::counter!(
                "quorate_transport_bytes_total",
                "transport" => transport,
                "direction" => direction
            )
        };
        let writes = metrics::counter!("quorate_transport_writes_total", "transport" => transport);
        Self { sent: bytes("out"), received: bytes("in"), writes }
    }
}

/// A stream whose bytes are counted, or a connection whose streams' bytes are.
#[derive(Debug)]
pub struct Counted<S> {
    inner: S,
    traffic: Traffic,
}

impl<S> Counted<S> {
    /// Counts from now on.
    pub const fn new(inner: S, traffic: Traffic) -> Self {
        Self { inner, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.traffic.received.increment(count as u64);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        self.traffic.sent.increment(count as u64);
        self.traffic.writes.increment(1);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<M: StreamMuxer<Substream: Unpin> + Unpin> StreamMuxer for Counted<M> {
    type Substream = Counted<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        Poll::Ready(Ok(Counted::new(stream, self.traffic.clone())))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(Counted::new(stream, self.traffic.clone())))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use metrics::with_local_recorder;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::{Counted, Traffic};

    #[test]
    fn all_bytes_of_a_stream_are_counted() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let traffic = with_local_recorder(&recorder, || Traffic::of("tcp"));
        let mut out = Counted::new(Cursor::new(Vec::new()), traffic.clone());
        block_on(out.write_all(&[7; 5])).expect("there is room");
        block_on(out.write_all(&[7; 3])).expect("there is room");
        let mut back = Counted::new(Cursor::new(vec![7; 2]), traffic);
        block_on(back.read_to_end(&mut Vec::new())).expect("it can be read");
        let text = recorder.handle().render();
        for line in [
            "quorate_transport_bytes_total{transport=\"tcp\",direction=\"out\"} 8",
            "quorate_transport_bytes_total{transport=\"tcp\",direction=\"in\"} 2",
            "quorate_transport_writes_total{transport=\"tcp\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
