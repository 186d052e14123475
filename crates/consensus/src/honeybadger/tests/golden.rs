//! One epoch of four members as a reader sees it. After a wanted change of the protocol, replace
//! `golden.txt` by what the failing test prints, and review the difference.

use quorate_crypto::threshold::NodeIndex;

use super::net::{Net, Order};

#[test]
fn an_epoch_of_four_reads_as_before() {
    let mut net = Net::of(4, 1, 1);
    net.wires.order = Order::Fifo;
    net.wires.twice = 0;
    net.run();
    net.check();
    let own = net.trace.iter().filter(|(me, _)| *me == NodeIndex(0));
    let lines: Vec<String> = own.map(|(_, t)| format!("{:<6} {}\n", t.line, t.text)).collect();
    let text = lines.concat();
    assert!(text == include_str!("golden.txt"), "the trace is now\n{text}");
}
