//! A core that runs the real protocol and rewrites what it says.

use quorate_consensus::committee::Committee;
use quorate_consensus::core::{Appetite, Core, Env, Event, Setup, Step, Target};
use quorate_consensus::footprint::Footprint;
use quorate_consensus::honeybadger::HoneyBadger;
use quorate_consensus::honeybadger::message::HoneyBadgerMessage;
use quorate_crypto::keygen::KeyGeneration;
use quorate_crypto::member::MemberPublicKey;
use quorate_crypto::threshold::{NodeIndex, Threshold};
use quorate_ledger::ids::Epoch;

use super::flood::Flood;
use super::{Treason, proposals, role_of, shares, silence, votes};
use crate::conduct::Conduct;

/// HoneyBadgerBFT as a member of the simulated network runs it: honest unless cast otherwise.
pub struct Traitor<G: KeyGeneration>
where
    G::Keys: Threshold,
{
    core: HoneyBadger<G>,
    member: MemberPublicKey,
    me: NodeIndex,
    committee: Committee,
    conduct: Conduct,
    flood: Flood,
}

impl<G: KeyGeneration> Traitor<G>
where
    G::Keys: Threshold,
{
    /// What the protocol says, or what the traitor makes of it.
    fn betray(
        &mut self,
        env: &mut Env,
        step: Step<HoneyBadgerMessage>,
    ) -> Step<HoneyBadgerMessage> {
        let (committee, me, n) = (self.committee, self.me, self.committee.size());
        match role_of(&self.member) {
            None => self.watch(step),
            Some(Treason::Silent) => step.redirect(|_, _| Vec::new()),
            Some(Treason::Equivocator) => {
                step.redirect(|to, message| proposals::equivocate(committee, to, message))
            }
            Some(Treason::WrongShards) => {
                step.redirect(|to, message| proposals::spoil(committee, me, env, to, message))
            }
            Some(Treason::Forger) => step.redirect(|to, message| shares::forge(env, to, message)),
            Some(Treason::DoubleVoter) => {
                step.redirect(|to, message| votes::double(n, env, to, message))
            }
            Some(Treason::Withholder) => {
                step.redirect(|to, message| silence::withhold(n, me, env, to, &message))
            }
            Some(Treason::Flooder) => self.flood.pour(committee, self.core.epoch(), env, step),
            // They lie in packets, or are honest copies: see the table of the folder.
            Some(
                Treason::FalseHistorian
                | Treason::Twins
                | Treason::Amnesiac
                | Treason::WrongBallots
                | Treason::Echo
                | Treason::Impersonator,
            ) => step,
        }
    }

    /// A correct member's conduct is looked at.
    fn watch(&mut self, step: Step<HoneyBadgerMessage>) -> Step<HoneyBadgerMessage> {
        let mut said = Vec::new();
        let step = step.redirect(|target, message| {
            if let Some(coin) = Conduct::coin(&message) {
                self.conduct.shows(&coin);
            } else if target == Target::All && Conduct::concerns(&message) {
                said.push(message.clone());
            }
            [(target, message)]
        });
        self.conduct.says(self.core.epoch(), &said);
        step
    }
}

impl<G: KeyGeneration> Core for Traitor<G>
where
    G::Keys: Threshold,
{
    type Message = HoneyBadgerMessage;
    type Generation = G;

    fn open(env: &mut Env, setup: Setup<G::Keys>) -> (Self, Step<HoneyBadgerMessage>) {
        let member = setup.view.producers[setup.me.get()].member;
        let committee = Committee::new(setup.view.producers.len());
        let me = setup.me;
        let conduct = Conduct::new(&setup.view, me);
        let (core, step) = HoneyBadger::open(env, setup);
        let mut this = Self { core, member, me, committee, conduct, flood: Flood::default() };
        let step = this.betray(env, step);
        (this, step)
    }

    fn step(
        &mut self,
        env: &mut Env,
        event: Event<HoneyBadgerMessage>,
    ) -> Step<HoneyBadgerMessage> {
        if let Event::Receive(from, message) = &event {
            self.conduct.hears(self.core.epoch(), *from, message.get());
        }
        let step = self.core.step(env, event);
        self.betray(env, step)
    }

    fn appetite(&self) -> Appetite {
        self.core.appetite()
    }

    fn epoch(&self) -> Epoch {
        self.core.epoch()
    }

    fn footprint(&self, into: &mut Footprint) {
        self.core.footprint(into);
    }

    fn may_stop(&self) -> bool {
        self.core.may_stop()
    }
}
