//! Key generation by hashes: cheap, without secrecy, but with the rules that matter here. A
//! dealer's log reveals what players did not acknowledge and is good only with `n - f`
//! acknowledgements; a player has its share only if each dealing reached it or was revealed.

use std::collections::BTreeMap;

use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::keygen::{Dealing, KeyGeneration, KeygenError};
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::{ViewKey, ViewPublicKey, ViewSignature};

const DOMAIN: &str = "test.log";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashedKeys {
    pub joint: Digest,
    pub share: Option<Digest>,
}

#[derive(Clone)]
pub struct Hashed {
    context: Vec<u8>,
    players: Vec<ViewPublicKey>,
    key: ViewKey,
    me: usize,
    seed: [u8; 32],
    received: BTreeMap<usize, Dealing>,
    acks: BTreeMap<usize, Vec<u8>>,
}

fn hash(tag: &str, parts: &[&[u8]]) -> Digest {
    parts.iter().fold(Hasher::new(tag), |hasher, part| hasher.field(part)).finish()
}

fn round(context: &[u8], players: &[ViewPublicKey]) -> Digest {
    let keys: Vec<&[u8]> = players.iter().map(|key| key.0.as_slice()).collect();
    hash("test.round", &[context, &hash("test.players", &keys).0])
}

fn evaluation(commitment: &[u8], player: usize) -> Vec<u8> {
    hash("test.evaluation", &[commitment, &(player as u64).to_be_bytes()]).0.to_vec()
}

fn ack_digest(round: &Digest, commitment: &[u8], player: usize) -> Digest {
    hash("test.ack", &[&round.0, commitment, &(player as u64).to_be_bytes()])
}

fn wrong(from: NodeIndex, what: &'static str, why: &str) -> KeygenError {
    KeygenError::Peer { from, what, why: why.to_owned() }
}

impl Hashed {
    fn round(&self) -> Digest {
        round(&self.context, &self.players)
    }

    fn commitment(&self) -> Digest {
        hash("test.commitment", &[&self.seed, &self.round().0])
    }
}

/// A log that was checked: commitment, and what it reveals.
type Log = (Vec<u8>, BTreeMap<usize, Vec<u8>>);

fn read_log(
    context: &[u8],
    players: &[ViewPublicKey],
    from: NodeIndex,
    log: &[u8],
) -> Result<Log, KeygenError> {
    let n = players.len();
    let bad = |why| wrong(from, "log", why);
    if log.len() != 32 + 33 * n + 64 {
        return Err(bad("malformed"));
    }
    let (body, signature) = log.split_at(32 + 33 * n);
    let signature = ViewSignature(signature.try_into().expect("64 bytes"));
    let digest = hash("test.log-body", &[&round(context, players).0, body]);
    if !players[from.get()].verify(DOMAIN, &digest, &signature) {
        return Err(bad("signature"));
    }
    let (commitment, entries) = body.split_at(32);
    let mut revealed = BTreeMap::new();
    for (player, entry) in entries.chunks(33).enumerate() {
        if entry[0] == 0 {
            revealed.insert(player, entry[1..].to_vec());
        }
    }
    if revealed.len() > (n - 1) / 3 {
        return Err(bad("too few acknowledgements"));
    }
    Ok((commitment.to_vec(), revealed))
}

impl KeyGeneration for Hashed {
    type Keys = HashedKeys;

    fn open(
        context: &[u8],
        players: &[ViewPublicKey],
        key: &ViewKey,
        seed: [u8; 32],
    ) -> Result<Self, KeygenError> {
        let me = players.iter().position(|player| *player == key.public());
        let me = me.ok_or_else(|| KeygenError::Round("not a player".to_owned()))?;
        Ok(Self {
            context: context.to_vec(),
            players: players.to_vec(),
            key: key.clone(),
            me,
            seed,
            received: BTreeMap::new(),
            acks: BTreeMap::new(),
        })
    }

    fn dealing(&self, to: NodeIndex) -> Option<Dealing> {
        let commitment = self.commitment().0.to_vec();
        let evaluation = evaluation(&commitment, to.get());
        (to.get() < self.players.len()).then_some(Dealing { commitment, evaluation })
    }

    fn receive_dealing(
        &mut self,
        from: NodeIndex,
        dealing: &Dealing,
    ) -> Result<Vec<u8>, KeygenError> {
        let good = from.get() < self.players.len()
            && dealing.evaluation == evaluation(&dealing.commitment, self.me);
        if !good || self.received.get(&from.get()).is_some_and(|known| known != dealing) {
            return Err(wrong(from, "dealing", "it does not fit"));
        }
        self.received.insert(from.get(), dealing.clone());
        let digest = ack_digest(&self.round(), &dealing.commitment, self.me);
        Ok(self.key.sign(DOMAIN, &digest).0.to_vec())
    }

    fn receive_ack(&mut self, from: NodeIndex, ack: &[u8]) -> Result<(), KeygenError> {
        let bad = || wrong(from, "acknowledgement", "it does not verify");
        let signature = ViewSignature::from_slice(ack).ok_or_else(bad)?;
        let player = self.players.get(from.get()).ok_or_else(bad)?;
        let digest = ack_digest(&self.round(), &self.commitment().0, from.get());
        if !player.verify(DOMAIN, &digest, &signature) {
            return Err(bad());
        }
        self.acks.insert(from.get(), ack.to_vec());
        Ok(())
    }

    fn acknowledged_by_all(&self) -> bool {
        self.acks.len() == self.players.len()
    }

    fn log(&self) -> Vec<u8> {
        let commitment = self.commitment();
        let mut body = commitment.0.to_vec();
        for player in 0..self.players.len() {
            let acked = self.acks.contains_key(&player);
            body.push(u8::from(acked));
            let revealed = evaluation(&commitment.0, player);
            body.extend(if acked { vec![0; 32] } else { revealed });
        }
        let digest = hash("test.log-body", &[&self.round().0, &body]);
        body.extend(self.key.sign(DOMAIN, &digest).0);
        body
    }

    fn finish(&self, logs: &BTreeMap<NodeIndex, Vec<u8>>) -> Result<HashedKeys, KeygenError> {
        let observed = Self::observe(&self.context, &self.players, logs)?;
        let mut share = Hasher::new("test.share").field(&observed.joint.0);
        for (from, log) in logs {
            let (_, revealed) = read_log(&self.context, &self.players, *from, log)?;
            let own = self.received.get(&from.get()).map(|dealing| &dealing.evaluation);
            let part = own.or(revealed.get(&self.me));
            let missing = || KeygenError::Failed(format!("the dealing of {from} is missing"));
            share = share.field(part.ok_or_else(missing)?);
        }
        Ok(HashedKeys { share: Some(share.finish()), ..observed })
    }

    fn observe(
        context: &[u8],
        players: &[ViewPublicKey],
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<HashedKeys, KeygenError> {
        if logs.len() != players.len() {
            return Err(KeygenError::Failed("logs are missing".to_owned()));
        }
        let mut joint = Hasher::new("test.joint").field(&round(context, players).0);
        for (from, log) in logs {
            joint = joint.field(&read_log(context, players, *from, log)?.0);
        }
        Ok(HashedKeys { joint: joint.finish(), share: None })
    }

    fn encode_keys(keys: &HashedKeys) -> Vec<u8> {
        let share = keys.share.map_or_else(Vec::new, |share| share.0.to_vec());
        [keys.joint.0.to_vec(), share].concat()
    }

    fn decode_keys(bytes: &[u8]) -> Option<HashedKeys> {
        let (joint, share) = bytes.split_at_checked(32)?;
        Some(HashedKeys { joint: Digest::from_slice(joint)?, share: Digest::from_slice(share) })
    }
}
