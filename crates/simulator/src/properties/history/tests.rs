use super::*;
use crate::properties::testing::TestGroup;

/// A history with its group; posts are numbered by their commands.
struct Story {
    group: TestGroup,
    history: History,
    blocks: Vec<Block>,
}

impl Story {
    fn new() -> Self {
        let group = TestGroup::new();
        let history = History::new(group.view().parent.1);
        Self { group, history, blocks: Vec::new() }
    }

    /// A block with the posts of these commands, seen by nobody yet.
    fn order(&mut self, tickets: &[u64]) -> Result<Block, Violation> {
        let member = self.group.member(1);
        let texts: Vec<Vec<u8>> = tickets.iter().map(|t| t.to_string().into_bytes()).collect();
        let posts: Vec<_> = texts.iter().map(|text| (&member, text.as_slice())).collect();
        let block = self.group.block(&posts);
        let ids = block.trxs.iter().filter_map(|trx| trx.id());
        let submitted = ids.zip(tickets.iter().copied()).collect();
        self.history.ordered(&block, &submitted)?;
        self.blocks.push(block.clone());
        Ok(block)
    }

    fn trx(&self, block: usize) -> TrxId {
        self.blocks[block - 1].trxs[0].id().expect("it has one")
    }

    fn read(&mut self, node: usize, head: u64, read: &Read) -> Result<(), &'static str> {
        self.history.read(node, BlockId(head), read).map_err(|violation| violation.property)
    }

    fn hash(&self, block: u64) -> Digest {
        self.history.hashes[&BlockId(block)]
    }
}

#[test]
fn what_is_submitted_after_a_block_was_seen_is_ordered_after_it() {
    let mut story = Story::new();
    story.history.submit(1, 0, 10);
    story.history.submit(2, 1, 10);
    let first = story.order(&[1]).expect("fine");
    story.history.seen(3, &first, 20);
    story.order(&[2]).expect("submitted before, ordered after: fine");
    story.history.submit(3, 1, 30);
    // The third block gets a number that had been seen before.
    story.history.frontier = BlockId(3);
    story.history.submit(4, 1, 40);
    story.order(&[3]).expect("submitted when block 1 had been seen");
    story.history.submissions.get_mut(&4).expect("made").floor = BlockId(4);
    let violation = story.order(&[4]).expect_err("it was submitted after block 4 was seen");
    assert_eq!(violation.property, "real_time_order");
}

#[test]
fn nothing_is_acknowledged_twice() {
    let mut story = Story::new();
    story.history.submit(1, 0, 10);
    story.history.submit(2, 0, 11);
    story.order(&[1, 2]).expect("fine");
    let (first, second) = (story.trx(1), story.blocks[0].trxs[1].id().expect("it has one"));
    assert_eq!(story.history.acknowledge(1, first), Ok(()));
    let again = story.history.acknowledge(2, first).expect_err("one trx, two commands");
    assert_eq!(again.property, "exactly_once");
    let again = story.history.acknowledge(1, second).expect_err("one command, two trxs");
    assert_eq!(again.property, "exactly_once");
    let mut story = Story::new();
    story.history.submit(1, 0, 10);
    story.history.submit(2, 0, 11);
    story.order(&[1]).expect("fine");
    let swapped = story.history.acknowledge(2, story.trx(1)).expect_err("it is of command 1");
    assert_eq!(swapped.property, "exactly_once");
}

#[test]
fn reads_show_a_prefix_and_nothing_else() {
    let mut story = Story::new();
    for block in 1..=3 {
        story.history.submit(block, 0, block);
        story.order(&[block]).expect("fine");
    }
    let (one, two, three) = (story.trx(1), story.trx(2), story.trx(3));
    let (hash, other) = (story.hash(2), story.hash(1));
    let good = [
        Read::Head(hash),
        Read::Block(BlockId(1), Some(other)),
        Read::Block(BlockId(3), None),
        Read::Trx(two, Some(BlockId(2))),
        Read::Trx(three, None),
        Read::Newest(9, vec![two, one]),
        Read::Newest(1, vec![two]),
    ];
    for read in &good {
        assert_eq!(story.read(1, 2, read), Ok(()), "{read:?}");
    }
    assert_eq!(story.history.reads(), good.len() as u64);
    let bad = [
        Read::Head(other),
        Read::Block(BlockId(1), None),
        Read::Block(BlockId(1), Some(hash)),
        Read::Block(BlockId(3), Some(story.hash(3))),
        Read::Trx(two, None),
        Read::Trx(two, Some(BlockId(1))),
        Read::Trx(three, Some(BlockId(3))),
        Read::Newest(9, vec![one, two]),
        Read::Newest(9, vec![two]),
        Read::Newest(9, vec![three, two, one]),
    ];
    for read in &bad {
        assert_eq!(story.read(1, 2, read), Err("prefix_reads"), "{read:?}");
    }
    assert_eq!(story.read(1, 4, &Read::Head(hash)), Err("prefix_reads"), "there is no block 4");
}

#[test]
fn a_node_never_goes_back_unless_its_disk_was_damaged() {
    let mut story = Story::new();
    let first = story.order(&[1]).expect("fine");
    let second = story.order(&[2]).expect("fine");
    story.history.seen(0, &first, 5);
    story.history.seen(0, &second, 6);
    let old = Read::Head(story.hash(1));
    assert_eq!(story.read(0, 1, &old), Err("session_order"));
    assert_eq!(story.read(1, 1, &old), Ok(()), "another node may be behind");
    assert_eq!(story.read(1, 0, &Read::Newest(3, Vec::new())), Err("session_order"));
    story.history.damaged(0);
    assert_eq!(story.read(0, 1, &old), Ok(()));
}

#[test]
fn submissions_out_of_their_time_are_not_linearizable() {
    let mut story = Story::new();
    story.history.submit(1, 0, 10);
    story.history.submit(2, 1, 11);
    let block = story.order(&[2, 1]).expect("fine");
    story.history.seen(0, &block, 20);
    assert_eq!(story.history.linearizable(), Ok(()), "both were under way");
    story.history.seen(1, &block, 21);
    assert_eq!(story.history.linearizable(), Ok(()));
    // The second one began after the first one had ended, and went before it all the same.
    story.history.submissions.get_mut(&2).expect("made").invoked = 20 + 1;
    story.history.submissions.get_mut(&2).expect("made").seen = Some(30);
    let violation = story.history.linearizable().expect_err("out of its time");
    assert_eq!(violation.property, "linearizable");
    assert!(violation.detail.contains("21 .. 30: Append(0)"), "{violation}");
}

#[test]
fn posts_of_strangers_fill_their_places() {
    let mut story = Story::new();
    story.order(&[]).expect("fine");
    let member = story.group.member(2);
    let strange = story.group.block(&[(&member, b"strange")]);
    story.history.ordered(&strange, &BTreeMap::new()).expect("fine");
    story.history.submit(1, 0, 10);
    let block = story.order(&[1]).expect("fine");
    story.history.seen(0, &block, 20);
    assert_eq!(story.history.linearizable(), Ok(()));
    assert_eq!(story.history.posts().len(), 2);
}

#[test]
fn long_logs_are_searched_in_parts() {
    let mut story = Story::new();
    for ticket in 0..3 * WINDOW as u64 {
        story.history.submit(ticket, 0, ticket * 10);
        let block = story.order(&[ticket]).expect("fine");
        story.history.seen(0, &block, ticket * 10 + 15);
    }
    assert_eq!(story.history.linearizable(), Ok(()));
    let late = story.history.submissions.get_mut(&(2 * WINDOW as u64)).expect("made");
    late.invoked = 5_000;
    late.seen = Some(5_001);
    let violation = story.history.linearizable().expect_err("in the last part");
    assert_eq!(violation.property, "linearizable");
}
