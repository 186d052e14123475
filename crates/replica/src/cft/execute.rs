//! Executes the operations of a request: against the state as of the last transaction appended
//! (writes), or against committed state (reads).

use quorate_ledger::ccf::maps::is_reserved;
use quorate_ledger::state::{MAX_KEY, MAX_MAP_NAME, MAX_VALUE, State, Value, WriteSet};

use super::api::{Code, Error, Op, OpResult};
use super::kv::{Store, merge};
use super::limits::{MAX_IDEMPOTENCY_KEY, MAX_OPS, MAX_RANGE, MAX_REQUEST, MAX_RESULTS};

/// The state that operations read.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// With everything appended.
    Head(&'a Store),
    /// What is committed.
    Committed(&'a State),
}

impl<'a> View<'a> {
    /// The value of a key.
    pub fn get(self, map: &str, key: &[u8]) -> Option<&'a Value> {
        match self {
            Self::Head(store) => store.head(map, key),
            Self::Committed(state) => state.get(map, key),
        }
    }

    fn range(
        self,
        map: &'a str,
        from: &'a [u8],
    ) -> Box<dyn Iterator<Item = (&'a [u8], &'a Value)> + 'a> {
        match self {
            Self::Head(store) => Box::new(store.head_from(map, from)),
            Self::Committed(state) => Box::new(state.iter_from(map, from)),
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidInput, message)
}

/// Checks sizes and names of a request, wherever it comes in.
///
/// # Errors
/// [`Code::InvalidInput`], [`Code::RequestBodyTooLarge`].
pub fn check(ops: &[Op], reads_only: bool, idempotency: Option<&[u8]>) -> Result<(), Error> {
    let too_large = |what: String| Err(Error::new(Code::RequestBodyTooLarge, what));
    if ops.is_empty() {
        return Err(invalid("a request needs an operation"));
    }
    if ops.len() > MAX_OPS {
        return too_large(format!("{} operations are more than {MAX_OPS}", ops.len()));
    }
    if idempotency.is_some_and(|key| key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY) {
        return Err(invalid(format!("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY} bytes")));
    }
    let mut bytes = 0;
    for op in ops {
        let (map, key, values) = match op {
            Op::Get { map, key } | Op::Delete { map, key } => (map, key, [None, None]),
            Op::Range { map, from, to, .. } => (map, from, [to.as_deref(), None]),
            Op::Put { map, key, value } => (map, key, [Some(&**value), None]),
            Op::CompareAndSet { map, key, expected, value } => {
                (map, key, [expected.as_deref(), value.as_deref()])
            }
        };
        let writes = matches!(op, Op::Put { .. } | Op::Delete { .. } | Op::CompareAndSet { .. });
        if writes && reads_only {
            return Err(invalid("a read cannot write"));
        }
        if writes && is_reserved(map) {
            return Err(invalid(format!("the map {map} is written by the service itself")));
        }
        if map.is_empty() || map.len() > MAX_MAP_NAME {
            return Err(invalid(format!("the name of a map has 1 to {MAX_MAP_NAME} bytes")));
        }
        if key.len() > MAX_KEY {
            return too_large(format!("a key has at most {MAX_KEY} bytes"));
        }
        if values.iter().flatten().any(|value| value.len() > MAX_VALUE) {
            return too_large(format!("a value has at most {MAX_VALUE} bytes"));
        }
        bytes += map.len() + key.len();
        bytes += values.iter().flatten().map(|value| value.len()).sum::<usize>();
        if bytes > MAX_REQUEST {
            return too_large(format!("a request has at most {MAX_REQUEST} bytes"));
        }
    }
    Ok(())
}

/// What a request did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What it wrote.
    pub writes: WriteSet,
    /// What its operations gave, in order.
    pub results: Vec<OpResult>,
}

/// Executes operations in order; later ones see what earlier ones wrote.
///
/// # Errors
/// [`Code::PreconditionFailed`] if a comparison fails, [`Code::RequestBodyTooLarge`] if the results
/// are too large. Nothing is written then.
pub fn execute(view: View<'_>, ops: &[Op]) -> Result<Outcome, Error> {
    let mut out = Outcome { writes: WriteSet::new(), results: Vec::with_capacity(ops.len()) };
    let (mut rows, mut bytes) = (MAX_RANGE, MAX_RESULTS);
    for (at, op) in ops.iter().enumerate() {
        let result = match op {
            Op::Get { map, key } => {
                let value = current(view, &out.writes, map, key).cloned();
                bytes =
                    value.as_ref().map_or(Some(bytes), |v| bytes.checked_sub(v.len())).ok_or_else(
                        || Error::new(Code::RequestBodyTooLarge, "the results are too large"),
                    )?;
                OpResult::Value(value)
            }
            Op::Range { map, from, to, limit } => {
                let limit = rows.min(*limit as usize);
                let (found, more) =
                    range(view, &out.writes, (map, from, to.as_deref()), limit, &mut bytes);
                rows -= found.len();
                OpResult::Range(found, more)
            }
            Op::Put { map, key, value } => {
                out.writes.put(map, key.as_slice(), value.clone()).map_err(too_large)?;
                OpResult::Done
            }
            Op::Delete { map, key } => {
                out.writes.delete(map, key.as_slice()).map_err(too_large)?;
                OpResult::Done
            }
            Op::CompareAndSet { map, key, expected, value } => {
                if current(view, &out.writes, map, key) != expected.as_ref() {
                    let message = format!("the comparison of operation {at} failed");
                    return Err(Error::new(Code::PreconditionFailed, message));
                }
                match value {
                    Some(value) => out.writes.put(map, key.as_slice(), value.clone()),
                    None => out.writes.delete(map, key.as_slice()),
                }
                .map_err(too_large)?;
                OpResult::Done
            }
        };
        out.results.push(result);
    }
    Ok(out)
}

fn too_large(error: quorate_ledger::state::WriteError) -> Error {
    Error::new(Code::RequestBodyTooLarge, error.to_string())
}

fn current<'a>(view: View<'a>, writes: &'a WriteSet, map: &str, key: &[u8]) -> Option<&'a Value> {
    match writes.get(map, key) {
        Some(written) => written,
        None => view.get(map, key),
    }
}

fn range<'a>(
    view: View<'a>,
    writes: &'a WriteSet,
    (map, from, to): (&'a str, &'a [u8], Option<&'a [u8]>),
    limit: usize,
    bytes: &mut usize,
) -> (Vec<(Vec<u8>, Value)>, bool) {
    let own = writes.iter().filter(|(at, key, _)| *at == map && *key >= from);
    let own = own.map(|(_, key, value)| (key, value));
    let rows = merge(view.range(map, from), own);
    let mut found = Vec::new();
    for (key, value) in rows.take_while(|(key, _)| to.is_none_or(|to| *key < to)) {
        let room = bytes.checked_sub(key.len() + value.len());
        let Some(room) = room.filter(|_| found.len() < limit) else {
            return (found, true);
        };
        *bytes = room;
        found.push((key.to_vec(), value.clone()));
    }
    (found, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put { map: "m".into(), key: key.into(), value: value.as_bytes().into() }
    }

    fn cas(key: &str, expected: Option<&str>, value: Option<&str>) -> Op {
        let bytes = |text: &str| Value::from(text.as_bytes());
        Op::CompareAndSet {
            map: "m".into(),
            key: key.into(),
            expected: expected.map(bytes),
            value: value.map(bytes),
        }
    }

    fn all(limit: u32) -> Op {
        Op::Range { map: "m".into(), from: vec![], to: None, limit }
    }

    #[test]
    fn later_operations_see_what_earlier_ones_wrote() {
        let mut store = Store::default();
        let before = execute(View::Head(&store), &[put("a", "1"), put("c", "1")]).expect("fits");
        store.append(1, before.writes);
        let ops =
            [put("b", "2"), cas("c", Some("1"), None), cas("b", Some("2"), Some("3")), all(9)];
        let done = execute(View::Head(&store), &ops).expect("compares");
        let value = |text: &str| Value::from(text.as_bytes());
        let rows = vec![(b"a".to_vec(), value("1")), (b"b".to_vec(), value("3"))];
        assert_eq!(done.results.last(), Some(&OpResult::Range(rows.clone(), false)));
        let ops = [put("b", "3"), all(1)];
        let done = execute(View::Head(&store), &ops).expect("fits");
        assert_eq!(done.results[1], OpResult::Range(rows[..1].to_vec(), true));
    }

    #[test]
    fn a_failed_comparison_writes_nothing() {
        let store = Store::default();
        let failed = execute(View::Head(&store), &[put("a", "1"), cas("a", None, Some("2"))]);
        assert_eq!(failed.expect_err("it is there").code, Code::PreconditionFailed);
    }

    #[test]
    fn requests_beyond_the_limits_are_refused() {
        let code = |ops: &[Op], reads| check(ops, reads, None).expect_err("refused").code;
        assert_eq!(code(&[], false), Code::InvalidInput);
        assert_eq!(code(&[put("a", "1")], true), Code::InvalidInput);
        let op = Op::Delete { map: "public:ccf.gov.nodes.info".into(), key: vec![1] };
        assert_eq!(code(&[op], false), Code::InvalidInput);
        let op = Op::Get { map: "m".into(), key: vec![0; MAX_KEY + 1] };
        assert_eq!(code(&[op], false), Code::RequestBodyTooLarge);
        assert_eq!(code(&vec![put("a", "1"); MAX_OPS + 1], false), Code::RequestBodyTooLarge);
        let large = "x".repeat(MAX_VALUE);
        assert_eq!(code(&vec![put("a", &large); 3], false), Code::RequestBodyTooLarge);
        assert!(check(&[put("a", "1")], false, Some(b"")).is_err());
        assert!(check(&[put("a", "1")], false, Some(b"k")).is_ok());
    }
}
