//! Makes a failing seed small: takes away whatever the failure does not need, until what is left is
//! what a reader has to look at.
//!
//! A [`Reduction`] says what is taken from the plan of a seed; as text it goes into the replay
//! command. Everything taken away changes what happens afterwards, so each attempt is a run, and is
//! kept if the same property fails.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::faults::{Faults, Misfortune};
use crate::properties::Violation;
use crate::world::Plan;

/// What is taken from a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reduction {
    /// Knobs of [`Faults::KNOBS`] whose rate is 0, and `delay`. The schedule, drawn before, stays.
    calm: BTreeSet<&'static str>,
    /// Blows of the schedule that do not strike.
    skip: BTreeSet<usize>,
    /// Posts to each group, if fewer.
    posts: Option<usize>,
    /// Length of the faulty phase in ms, if shorter.
    faulty_ms: Option<u64>,
    /// No users, no joiners, one group.
    alone: bool,
}

/// Name of the delay's knob, which has no rate.
const DELAY: &str = "delay";
/// Delay of packets, in ms, once it is calmed.
const CALM_DELAY_MS: u64 = 10;

impl Reduction {
    /// Takes it from a plan.
    pub fn apply(&self, plan: &mut Plan) {
        for (name, knob) in Faults::KNOBS {
            if self.calm.contains(name) {
                *knob(&mut plan.faults) = 0.0;
            }
        }
        if self.calm.contains(DELAY) {
            plan.faults.delay_ms = CALM_DELAY_MS;
        }
        if self.alone {
            (plan.users, plan.joiners, plan.groups) = (0, 0, 1);
        }
        plan.posts = self.posts.unwrap_or(plan.posts).min(plan.posts);
        plan.faulty_ms = self.faulty_ms.unwrap_or(plan.faulty_ms).min(plan.faulty_ms);
        let nodes = plan.nodes();
        let mut number = 0;
        plan.schedule.retain_mut(|blow| {
            let kept = !self.skip.contains(&number) && strikes(&mut blow.misfortune, nodes);
            number += 1;
            kept && blow.at_ms < plan.faulty_ms
        });
    }
}

/// Takes nodes that are not there from a misfortune; whether it still strikes anybody.
fn strikes(misfortune: &mut Misfortune, nodes: usize) -> bool {
    match misfortune {
        Misfortune::Crash(outages) => {
            outages.retain(|node, _| *node < nodes);
            !outages.is_empty()
        }
        Misfortune::Partition { side, .. } => {
            side.retain(|node| *node < nodes);
            !side.is_empty()
        }
        Misfortune::OneWay { from, to, .. } => *from < nodes && *to < nodes,
        Misfortune::Clog { node, .. }
        | Misfortune::SlowLink { node, .. }
        | Misfortune::Bandwidth { node, .. }
        | Misfortune::Pause { node, .. }
        | Misfortune::ClockJump { node, .. }
        | Misfortune::ClockDrift { node, .. }
        | Misfortune::WireVersion { node, .. }
        | Misfortune::FullDisk { node, .. }
        | Misfortune::SlowSync { node, .. }
        | Misfortune::BadDisk { node, .. }
        | Misfortune::Rot { node, .. } => *node < nodes,
    }
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.calm.is_empty() {
            let names: Vec<&str> = self.calm.iter().copied().collect();
            parts.push(format!("calm={}", names.join(",")));
        }
        if !self.skip.is_empty() {
            parts.push(format!("skip={}", ranges(&self.skip)));
        }
        if let Some(posts) = self.posts {
            parts.push(format!("posts={posts}"));
        }
        if let Some(ms) = self.faulty_ms {
            parts.push(format!("faulty_ms={ms}"));
        }
        if self.alone {
            parts.push("alone".into());
        }
        f.write_str(&parts.join(";"))
    }
}

/// Numbers as `1,3-5`.
fn ranges(numbers: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let text =
        runs.iter().map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        );
    text.collect::<Vec<_>>().join(",")
}

/// Why a text is no [`Reduction`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{part}' is no part of a reduction: {why}")]
pub struct ReductionError {
    part: String,
    why: String,
}

/// Most blows a schedule has: bounds what a range of a text may name.
const MAX_BLOWS: usize = 100_000;

impl FromStr for Reduction {
    type Err = ReductionError;

    fn from_str(text: &str) -> Result<Self, ReductionError> {
        let mut reduction = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = |why: &str| ReductionError { part: part.into(), why: why.into() };
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let number = || value.parse::<u64>().map_err(|_| wrong("a number is expected"));
            match key {
                "calm" => {
                    for name in value.split(',') {
                        let known = Faults::KNOBS.iter().map(|(known, _)| *known).chain([DELAY]);
                        let known = known.into_iter().find(|known| *known == name);
                        let known = known.ok_or_else(|| wrong(&format!("no knob is {name}")))?;
                        reduction.calm.insert(known);
                    }
                }
                "skip" => {
                    for range in value.split(',') {
                        let (first, last) = range.split_once('-').unwrap_or((range, range));
                        let (first, last) = (first.parse::<usize>(), last.parse::<usize>());
                        match (first, last) {
                            (Ok(first), Ok(last)) if last < MAX_BLOWS => {
                                reduction.skip.extend(first..=last);
                            }
                            _ => return Err(wrong("numbers like 1,3-5 are expected")),
                        }
                    }
                }
                "posts" => reduction.posts = Some(number()? as usize),
                "faulty_ms" => reduction.faulty_ms = Some(number()?),
                "alone" if value.is_empty() => reduction.alone = true,
                _ => return Err(wrong("calm, skip, posts, faulty_ms and alone are known")),
            }
        }
        Ok(reduction)
    }
}

/// A seed made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What could be taken away.
    pub reduction: Reduction,
    /// The failure of what is left.
    pub violation: Violation,
    /// Runs it took.
    pub runs: usize,
    /// Blows of the schedule before, and those left.
    pub blows: (usize, usize),
}

/// Takes away what the failure of `plan` does not need, in at most `most` runs. `run` runs a plan and
/// says what failed. Nothing if the plan does not fail.
pub fn shrink(
    plan: &Plan,
    most: usize,
    mut run: impl FnMut(Plan) -> Option<Violation>,
) -> Option<Shrunk> {
    let violation = run(plan.clone())?;
    let mut search =
        Search { plan, reduction: Reduction::default(), violation, runs: 1, most, run: &mut run };
    loop {
        let before = search.reduction.clone();
        search.simpler();
        search.shorter();
        search.calmer();
        search.fewer_blows();
        if search.reduction == before || search.runs >= most {
            break;
        }
    }
    let Search { reduction, violation, runs, .. } = search;
    let mut left = plan.clone();
    reduction.apply(&mut left);
    let blows = (plan.schedule.len(), left.schedule.len());
    Some(Shrunk { reduction, violation, runs, blows })
}

struct Search<'a, R> {
    plan: &'a Plan,
    reduction: Reduction,
    violation: Violation,
    runs: usize,
    most: usize,
    run: &'a mut R,
}

impl<R: FnMut(Plan) -> Option<Violation>> Search<'_, R> {
    /// Keeps a candidate if the same property fails without more; whether it was kept.
    fn attempt(&mut self, candidate: Reduction) -> bool {
        if candidate == self.reduction || self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        let mut plan = self.plan.clone();
        candidate.apply(&mut plan);
        match (self.run)(plan) {
            Some(violation) if violation.property == self.violation.property => {
                (self.reduction, self.violation) = (candidate, violation);
                true
            }
            _ => false,
        }
    }

    fn simpler(&mut self) {
        self.attempt(Reduction { alone: true, ..self.reduction.clone() });
    }

    /// Halves posts and the faulty phase for as long as it fails still.
    fn shorter(&mut self) {
        loop {
            let posts = self.reduction.posts.unwrap_or(self.plan.posts);
            let fewer = Reduction { posts: Some(posts / 2), ..self.reduction.clone() };
            if posts == 0 || !self.attempt(fewer) {
                break;
            }
        }
        loop {
            let ms = self.reduction.faulty_ms.unwrap_or(self.plan.faulty_ms);
            let shorter = Reduction { faulty_ms: Some(ms * 2 / 3), ..self.reduction.clone() };
            if ms < 500 || !self.attempt(shorter) {
                break;
            }
        }
    }

    fn calmer(&mut self) {
        let mut faults = self.plan.faults.clone();
        let on = Faults::KNOBS.iter().filter(|(_, knob)| *knob(&mut faults) > 0.0);
        let names: Vec<&'static str> = on.map(|(name, _)| *name).chain([DELAY]).collect();
        let mut all = self.reduction.clone();
        all.calm.extend(names.iter().copied());
        if self.attempt(all) {
            return;
        }
        for name in names {
            let mut candidate = self.reduction.clone();
            candidate.calm.insert(name);
            self.attempt(candidate);
        }
    }

    /// Delta debugging over the blows: halves, quarters, ... single ones.
    fn fewer_blows(&mut self) {
        let total = self.plan.schedule.len();
        let mut part = total.div_ceil(2);
        while part > 0 {
            let left: Vec<usize> =
                (0..total).filter(|blow| !self.reduction.skip.contains(blow)).collect();
            for chunk in left.chunks(part) {
                let mut candidate = self.reduction.clone();
                candidate.skip.extend(chunk);
                self.attempt(candidate);
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
