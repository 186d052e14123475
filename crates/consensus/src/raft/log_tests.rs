use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The history as it is written down in papers: the first entry of view 1, 2, ...
#[derive(Default, Debug)]
struct Dense(Vec<Seqno>);

impl Dense {
    fn update(&mut self, seqno: Seqno, view: View) -> bool {
        if self.0.last().is_some_and(|last| seqno < *last) {
            return false;
        }
        while (self.0.len() as u64) < view {
            self.0.push(seqno);
        }
        true
    }

    fn view_at(&self, seqno: Seqno) -> View {
        self.0.iter().filter(|start| **start <= seqno).count() as u64
    }

    fn start_of_view(&self, view: View) -> Seqno {
        let k = view as usize;
        let known = k > 0 && k <= self.0.len();
        if !known || self.0.get(k) == Some(&self.0[k - 1]) { 0 } else { self.0[k - 1] }
    }

    fn end_of_view(&self, view: View) -> Seqno {
        let next = self.0.get(view as usize).copied();
        if self.start_of_view(view) == 0 { 0 } else { next.map_or(0, |next| next - 1) }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Update(Seqno, View),
    Rollback(Seqno),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..30u64, 1..12u64).prop_map(|(seqno, view)| Act::Update(seqno, view)),
        1 => (0..30u64).prop_map(Act::Rollback),
    ]
}

proptest! {
    #[test]
    fn views_without_entries_need_not_be_kept(acts in vec(act(), 0..30)) {
        let (mut sparse, mut dense) = (ViewHistory::default(), Dense::default());
        for act in acts {
            match act {
                Act::Update(seqno, view) => {
                    prop_assert_eq!(sparse.update(seqno, view), dense.update(seqno, view));
                }
                Act::Rollback(seqno) => {
                    sparse.rollback(seqno);
                    dense.0.retain(|start| *start <= seqno);
                }
            }
            for i in 0..32 {
                prop_assert_eq!(sparse.view_at(i), dense.view_at(i));
                prop_assert_eq!(sparse.start_of_view(i), dense.start_of_view(i));
                prop_assert_eq!(sparse.end_of_view(i), dense.end_of_view(i));
            }
            let again = ViewHistory::from_starts(sparse.starts().to_vec());
            prop_assert_eq!(again, Some(sparse.clone()));
        }
    }
}

#[test]
fn a_huge_view_takes_no_room() {
    let mut views = ViewHistory::default();
    assert!(views.update(1, u64::MAX));
    assert_eq!(views.starts(), &[(u64::MAX, 1)]);
}

fn log(views: &[(View, Seqno)], last_idx: Seqno) -> Log {
    let views = ViewHistory::from_starts(views.to_vec()).expect("they ascend");
    Log { last_idx, commit_idx: 0, views, committable: [2, 5, 9].into() }
}

#[test]
fn whole_views_are_passed_over() {
    let log = log(&[(2, 1), (5, 4), (7, 8)], 12);
    assert_eq!(log.highest_possible_match(7, 10), 10);
    assert_eq!(log.highest_possible_match(7, 99), 12);
    assert_eq!(log.highest_possible_match(6, 10), 7);
    assert_eq!(log.highest_possible_match(4, 10), 3);
    assert_eq!(log.highest_possible_match(1, 10), 0);
}

#[test]
fn signatures_bound_what_can_be_committed() {
    let log = log(&[(2, 1)], 12);
    assert_eq!(log.highest_committable(1), None);
    assert_eq!(log.highest_committable(2), Some(2));
    assert_eq!(log.highest_committable(8), Some(5));
    assert_eq!(log.last_committable(), 9);
    assert_eq!((log.term(12), log.term(13)), (2, 0));
}

#[test]
fn a_history_must_ascend() {
    for starts in [vec![(2, 1), (2, 3)], vec![(3, 1), (2, 3)], vec![(2, 3), (3, 3)], vec![(0, 1)]] {
        assert_eq!(ViewHistory::from_starts(starts), None);
    }
}
