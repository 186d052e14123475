//! Whether a short history could have happened one operation at a time: Wing and Gong's search with
//! Lowe's memory of what has been tried, from `todc-utils`, over models of what is replicated.
//!
//! A model is a [`Specification`]: a state, and what an operation does to it. An operation holds its
//! answer. [`Log`] is the ledger; [`Register`] one key of a map, and [`check_map`] a whole map, key by
//! key: a map is linearizable if and only if each of its keys is (Herlihy and Wing: locality).

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::marker::PhantomData;

use todc_utils::{Action, History, Specification, WGLChecker};

/// One operation of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call<O> {
    /// When it began. Moments are of one clock; only their order counts.
    pub invoked: u64,
    /// When its answer came; `None`: never. It may have happened at any moment since, or not at all.
    pub returned: Option<u64>,
    /// What was asked, with the answer.
    pub operation: O,
}

/// What may be done to a replicated object.
pub trait Model: Specification<Operation: Clone + Debug, State: Clone + Eq + Hash> {
    /// Whether an operation without an answer tells nothing and changes nothing: a read.
    fn is_void(operation: &Self::Operation) -> bool;
}

/// A history that no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotLinearizable {
    /// Its operations in the order they began, one in each line.
    pub timeline: Vec<String>,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no order of these operations explains their answers:")?;
        self.timeline.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// Looks for an order. The search takes long for many operations at once: histories should be short.
///
/// # Errors
/// There is none.
pub fn check<M: Model>(calls: &[Call<M::Operation>]) -> Result<(), NotLinearizable> {
    if explains::<M>(calls) {
        return Ok(());
    }
    let mut calls: Vec<&Call<M::Operation>> = calls.iter().collect();
    calls.sort_by_key(|call| call.invoked);
    let line = |call: &&Call<M::Operation>| {
        let end = call.returned.map_or_else(|| "never".to_owned(), |end| end.to_string());
        format!("{} .. {end}: {:?}", call.invoked, call.operation)
    };
    Err(NotLinearizable { timeline: calls.iter().map(line).collect() })
}

fn explains<M: Model>(calls: &[Call<M::Operation>]) -> bool {
    let told = calls.iter().filter(|c| c.returned.is_some() || !M::is_void(&c.operation));
    let mut actions = Vec::new();
    for (process, call) in told.enumerate() {
        let operation = call.operation.clone();
        // What begins at the moment at which another ends is at once with it.
        actions.push(((call.invoked, 0, process), Action::Call(operation.clone())));
        let end = call.returned.unwrap_or(u64::MAX);
        actions.push(((end, 1, process), Action::Response(operation)));
    }
    if actions.is_empty() {
        return true;
    }
    actions.sort_by_key(|(moment, _)| *moment);
    let actions = actions.into_iter().map(|((_, _, process), action)| (process, action));
    WGLChecker::<M>::is_linearizable(History::from_actions(actions.collect()))
}

/// An operation on a log that only grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogCall {
    /// Appended, at this place.
    Append(usize),
    /// Read whole: so long it was.
    Read(usize),
}

/// A log that only grows. What is at each place is the business of other checkers.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl Specification for Log {
    type State = usize;
    type Operation = LogCall;

    fn init() -> usize {
        0
    }

    fn apply(operation: &LogCall, length: &usize) -> (bool, usize) {
        match operation {
            LogCall::Append(place) => (place == length, length + 1),
            LogCall::Read(found) => (found == length, *length),
        }
    }
}

impl Model for Log {
    fn is_void(operation: &LogCall) -> bool {
        matches!(operation, LogCall::Read(_))
    }
}

/// An operation on one key of a map. `None` as a value: it is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterCall<V> {
    /// Read this.
    Read(Option<V>),
    /// Put this, or deleted.
    Write(Option<V>),
    /// Put `new` if `expected` was there.
    CompareAndSet {
        /// What had to be there.
        expected: Option<V>,
        /// What is put.
        new: Option<V>,
        /// Whether it was; `None` if no answer came.
        done: Option<bool>,
    },
}

/// One key of a map, not there at first.
#[derive(Clone, Copy, Debug)]
pub struct Register<V>(PhantomData<V>);

impl<V: Clone + Eq + Hash + Debug> Specification for Register<V> {
    type State = Option<V>;
    type Operation = RegisterCall<V>;

    fn init() -> Option<V> {
        None
    }

    fn apply(operation: &RegisterCall<V>, value: &Option<V>) -> (bool, Option<V>) {
        match operation {
            RegisterCall::Read(found) => (found == value, value.clone()),
            RegisterCall::Write(new) => (true, new.clone()),
            RegisterCall::CompareAndSet { expected, new, done } => {
                let equal = expected == value;
                let next = if equal { new.clone() } else { value.clone() };
                (done.is_none_or(|done| done == equal), next)
            }
        }
    }
}

impl<V: Clone + Eq + Hash + Debug> Model for Register<V> {
    fn is_void(operation: &RegisterCall<V>) -> bool {
        matches!(operation, RegisterCall::Read(_))
    }
}

/// Looks for an order of the operations on each key of a map.
///
/// # Errors
/// The first key whose operations no order explains, and they.
pub fn check_map<K, V>(calls: &[(K, Call<RegisterCall<V>>)]) -> Result<(), (K, NotLinearizable)>
where
    K: Ord + Clone,
    V: Clone + Eq + Hash + Debug,
{
    let mut keys: BTreeMap<&K, Vec<Call<RegisterCall<V>>>> = BTreeMap::new();
    for (key, call) in calls {
        keys.entry(key).or_default().push(call.clone());
    }
    keys.into_iter().try_for_each(|(key, calls)| {
        check::<Register<V>>(&calls).map_err(|error| (key.clone(), error))
    })
}

#[cfg(test)]
mod tests {
    use super::RegisterCall::{CompareAndSet, Read, Write};
    use super::*;

    fn call<O>(invoked: u64, returned: u64, operation: O) -> Call<O> {
        Call { invoked, returned: Some(returned), operation }
    }

    fn unanswered<O>(invoked: u64, operation: O) -> Call<O> {
        Call { invoked, returned: None, operation }
    }

    #[test]
    fn nothing_is_linearizable() {
        assert_eq!(check::<Log>(&[]), Ok(()));
        assert_eq!(check::<Log>(&[unanswered(1, LogCall::Read(7))]), Ok(()));
    }

    #[test]
    fn appends_at_once_may_take_any_order_and_others_may_not() {
        let at_once = [call(1, 9, LogCall::Append(1)), call(2, 8, LogCall::Append(0))];
        assert_eq!(check::<Log>(&at_once), Ok(()));
        let touching = [call(1, 4, LogCall::Append(1)), call(4, 8, LogCall::Append(0))];
        assert_eq!(check::<Log>(&touching), Ok(()), "one ends as the other begins");
        let apart = [call(1, 3, LogCall::Append(1)), call(4, 8, LogCall::Append(0))];
        let error = check::<Log>(&apart).expect_err("the later one went before");
        assert!(error.to_string().contains("4 .. 8: Append(0)"), "{error}");
    }

    #[test]
    fn a_read_after_an_append_must_show_it() {
        let append = call(1, 3, LogCall::Append(0));
        let reads = |at: u64, length| [append.clone(), call(at, at + 1, LogCall::Read(length))];
        assert_eq!(check::<Log>(&reads(4, 1)), Ok(()));
        assert_eq!(check::<Log>(&reads(2, 0)), Ok(()), "at once with it");
        check::<Log>(&reads(4, 0)).expect_err("a stale read");
        check::<Log>(&reads(4, 2)).expect_err("nobody appended a second");
    }

    #[test]
    fn an_append_without_an_answer_may_have_happened_or_not() {
        let lost = unanswered(1, LogCall::Append(0));
        let read = |length| call(5, 6, LogCall::Read(length));
        assert_eq!(check::<Log>(&[lost.clone(), read(0)]), Ok(()));
        assert_eq!(check::<Log>(&[lost.clone(), read(1)]), Ok(()));
        check::<Log>(&[lost, read(1), call(7, 8, LogCall::Read(0))]).expect_err("it went away");
    }

    #[test]
    fn a_register_is_told_from_a_stale_one() {
        let written = [call(1, 2, Write(Some(1))), call(3, 6, Write(Some(2)))];
        let with = |more: &[Call<RegisterCall<u32>>]| [written.as_slice(), more].concat();
        let good = with(&[call(4, 5, Read(Some(2))), call(7, 8, Read(Some(2)))]);
        assert_eq!(check::<Register<u32>>(&good), Ok(()));
        let stale = with(&[call(7, 8, Read(Some(1)))]);
        check::<Register<u32>>(&stale).expect_err("the second write had ended");
        // Each read alone is fine; together they go back.
        let back = with(&[call(3, 4, Read(Some(2))), call(5, 6, Read(Some(1)))]);
        let error = check::<Register<u32>>(&back).expect_err("seen and unseen again");
        assert_eq!(error.timeline.len(), 4);
    }

    #[test]
    fn a_compare_and_set_happens_only_to_what_it_expects() {
        let set = |expected, new, done| CompareAndSet { expected, new: Some(new), done };
        let race = |first, second| {
            [call(1, 9, set(None, 1, Some(first))), call(2, 8, set(None, 2, Some(second)))]
        };
        assert_eq!(check::<Register<u32>>(&race(true, false)), Ok(()));
        check::<Register<u32>>(&race(true, true)).expect_err("both won");
        check::<Register<u32>>(&race(false, false)).expect_err("nobody won");
        let lost = [
            unanswered(1, set(None, 1, None)),
            call(2, 3, Read(None)),
            call(4, 5, Read(Some(1))),
            call(6, 7, Write(None)),
            call(8, 9, Read(None)),
        ];
        assert_eq!(check::<Register<u32>>(&lost), Ok(()));
    }

    #[test]
    fn the_keys_of_a_map_are_checked_apart() {
        let mut calls = vec![
            ("a", call(1, 2, Write(Some(1)))),
            ("b", call(3, 4, Write(Some(2)))),
            ("a", call(5, 6, Read(Some(1)))),
            ("b", call(5, 6, Read(Some(2)))),
        ];
        assert_eq!(check_map(&calls), Ok(()));
        calls.push(("b", call(7, 8, Read(None))));
        let (key, _) = check_map(&calls).expect_err("b was forgotten");
        assert_eq!(key, "b");
    }
}
