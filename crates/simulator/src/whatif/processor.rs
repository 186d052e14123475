//! Cores that threads take turns on: a machine's, or one machine's that all nodes share.
//!
//! A *pool* is a number of threads that work off one queue. A thread that has a job waits for a
//! core, first come first served, and keeps it while it has jobs. As with an operating system that
//! is fair, one that has had its core for long enough loses it at once to a thread that wakes, and
//! after a quantum to one that waits. So what comes for the others meanwhile waits a little, and is
//! done at once. Cores that share what they are made of are slower while others are busy, too. Times
//! are in nanoseconds unless said otherwise.

use std::collections::VecDeque;

/// How long a thread has its core to itself, whoever wakes. Measured under Linux 6.18 (`perf sched
/// timehist`): while two threads checked a fetched ledger on two cores, half of the threads that woke
/// had a core within 7 us, nine of ten within 252 us, on average 110 us.
const PROTECTED_NS: u64 = 100_000;
/// How long a thread keeps a core that others waited for already: that, and until the next tick of a
/// clock with 250 in a second, on average.
const QUANTUM_NS: u64 = 3_000_000;

struct Pool<J> {
    queue: VecDeque<J>,
    /// Threads.
    width: usize,
    /// Threads that have a job.
    active: usize,
    /// Core time used so far.
    used: u64,
}

/// A job that waits for a core, or has just got one.
pub(crate) struct Ready<J> {
    pool: usize,
    /// It.
    pub job: J,
    /// What is left of it, once that is known.
    pub left: Option<u64>,
    /// How long its thread has had its core already.
    stint: u64,
}

/// A job on its core.
struct Running<J> {
    id: u64,
    pool: usize,
    job: J,
    /// What was left of it when this slice began.
    left: u64,
    /// What such work takes now, in percent of what it takes on a core alone.
    percent: u64,
    /// How long its thread had had its core before.
    stint: u64,
    /// Begin and end in microseconds of the world's clock, and how long it is exactly.
    from: u64,
    end: u64,
    length: u64,
}

impl<J> Running<J> {
    /// Core time used of this slice at a time in microseconds.
    fn used(&self, now: u64) -> u64 {
        ((now - self.from) * 1_000).min(self.length)
    }
}

/// A job that is done.
pub(crate) struct Done<J> {
    /// Its pool.
    pub pool: usize,
    /// It.
    pub job: J,
    /// How long its thread has had its core.
    pub stint: u64,
}

/// Some cores and the threads they run.
pub(crate) struct Processor<J> {
    cores: usize,
    idle: usize,
    /// What work takes when all cores are busy, in percent of what it takes on one alone.
    crowded: u64,
    pools: Vec<Pool<J>>,
    ready: VecDeque<Ready<J>>,
    running: Vec<Running<J>>,
    /// Slices begun.
    slices: u64,
    /// Core time used that is less than a microsecond of the world's clock.
    rest: u64,
}

impl<J> Processor<J> {
    /// `cores` cores, and a pool for each width. `crowded`: what work takes when all cores are busy, in
    /// percent of what it takes on one alone.
    pub fn new(cores: usize, crowded: u64, widths: impl IntoIterator<Item = usize>) -> Self {
        let pool = |width| Pool { queue: VecDeque::new(), width, active: 0, used: 0 };
        Self {
            cores,
            idle: cores,
            crowded: crowded.max(100),
            pools: widths.into_iter().map(pool).collect(),
            ready: VecDeque::new(),
            running: Vec::new(),
            slices: 0,
            rest: 0,
        }
    }

    /// Cores.
    pub const fn cores(&self) -> usize {
        self.cores
    }

    /// Core time that each pool has used so far.
    pub fn used(&self) -> impl Iterator<Item = u64> {
        self.pools.iter().map(|pool| pool.used)
    }

    /// Gives a pool a job, at a time in microseconds.
    pub fn push(&mut self, now: u64, pool: usize, job: J) {
        self.pools[pool].queue.push_back(job);
        self.admit(now, pool);
    }

    /// Threads that have nothing to do take what is there for their pool.
    fn admit(&mut self, now: u64, at: usize) {
        let pool = &mut self.pools[at];
        let mut woken = 0;
        while pool.active < pool.width
            && let Some(job) = pool.queue.pop_front()
        {
            pool.active += 1;
            self.ready.push_back(Ready { pool: at, job, left: None, stint: 0 });
            woken += 1;
        }
        (0..woken).for_each(|_| self.preempt(now));
    }

    /// A thread has woken: who has had a core for longest, and long enough, loses it.
    fn preempt(&mut self, now: u64) {
        if self.idle > 0 {
            return;
        }
        let stint = |running: &Running<J>| running.stint + running.used(now);
        let longest = (0..self.running.len()).max_by_key(|at| stint(&self.running[*at]));
        let Some(at) = longest else { return };
        if stint(&self.running[at]) < PROTECTED_NS || self.running[at].end <= now {
            return;
        }
        let lost = self.running.swap_remove(at);
        let used = lost.used(now);
        self.pools[lost.pool].used -= lost.length - used;
        let left = lost.left.saturating_sub(used * 100 / lost.percent).max(1);
        self.idle += 1;
        self.ready.push_back(Ready { pool: lost.pool, job: lost.job, left: Some(left), stint: 0 });
    }

    /// The next job that gets a core, if one is idle. [`Processor::run`] follows.
    pub fn take(&mut self) -> Option<Ready<J>> {
        if self.idle == 0 {
            return None;
        }
        let ready = self.ready.pop_front()?;
        self.idle -= 1;
        Some(ready)
    }

    /// A job of which `left` is left runs, from a time in microseconds: until when, and the name of
    /// this slice for [`Processor::end`].
    pub fn run(&mut self, now: u64, ready: Ready<J>, left: u64) -> (u64, u64) {
        let Ready { pool, job, stint, .. } = ready;
        let (busy, others) = (self.cores - self.idle, self.cores.saturating_sub(1).max(1));
        let percent = 100 + (self.crowded - 100) * busy.saturating_sub(1) as u64 / others as u64;
        // Whoever has had more than a quantum has it since nobody waited.
        let room = if stint < QUANTUM_NS { QUANTUM_NS - stint } else { QUANTUM_NS };
        let length = (left * percent / 100).min(room);
        self.pools[pool].used += length;
        let exact = length + self.rest;
        self.rest = exact % 1_000;
        self.slices += 1;
        let (id, from, end) = (self.slices, now, now + exact / 1_000);
        self.running.push(Running { id, pool, job, left, percent, stint, from, end, length });
        (end, id)
    }

    /// A slice is over: the job, if it is done. Then [`Processor::finish`] or [`Processor::block`]
    /// follows.
    pub fn end(&mut self, slice: u64) -> Option<Done<J>> {
        let at = self.running.iter().position(|running| running.id == slice)?;
        let Running { pool, job, left, percent, stint, length, .. } = self.running.swap_remove(at);
        let stint = stint + length;
        if left * percent / 100 <= length {
            return Some(Done { pool, job, stint });
        }
        self.idle += 1;
        let left = Some((left - length * 100 / percent).max(1));
        if self.ready.is_empty() {
            self.ready.push_front(Ready { pool, job, left, stint });
        } else {
            self.ready.push_back(Ready { pool, job, left, stint: 0 });
        }
        None
    }

    /// Whether threads wait for a core.
    pub fn is_short(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether a pool has nothing to do.
    pub fn is_idle(&self, pool: usize) -> bool {
        let pool = &self.pools[pool];
        pool.active == 0 && pool.queue.is_empty()
    }

    /// A thread is done with its job and takes the next: on its core, if its quantum is not over or
    /// nobody waits.
    pub fn finish(&mut self, now: u64, at: usize, stint: u64) {
        self.idle += 1;
        let keeps = stint < QUANTUM_NS || self.ready.is_empty();
        let pool = &mut self.pools[at];
        match pool.queue.pop_front() {
            Some(job) if keeps => {
                self.ready.push_front(Ready { pool: at, job, left: None, stint });
            }
            Some(job) => self.ready.push_back(Ready { pool: at, job, left: None, stint: 0 }),
            None => pool.active -= 1,
        }
        self.admit(now, at);
    }

    /// A thread is done with its job, but waits for something that needs no core.
    pub const fn block(&mut self) {
        self.idle += 1;
    }

    /// What a thread waited for is there: it takes the next job.
    pub fn resume(&mut self, now: u64, pool: usize) {
        self.pools[pool].active -= 1;
        self.admit(now, pool);
    }

    /// Forgets what a pool has not begun.
    pub fn clear(&mut self, at: usize) {
        let before = self.ready.len();
        self.pools[at].queue.clear();
        self.ready.retain(|ready| ready.pool != at || ready.left.is_some());
        self.pools[at].active -= before - self.ready.len();
    }
}

#[cfg(test)]
mod tests {
    use super::Processor;

    type Job = (char, u64);

    /// Gives idle cores what waits; adds ends and names of slices.
    fn fill(processor: &mut Processor<Job>, now: u64, running: &mut Vec<(u64, u64)>) {
        while let Some(ready) = processor.take() {
            let left = ready.left.unwrap_or(ready.job.1);
            running.push(processor.run(now, ready, left));
        }
    }

    /// Works everything off, with what comes later (microseconds, pool, job), in order; each job's end
    /// in microseconds, in order.
    fn ends_with(mut processor: Processor<Job>, later: &[(u64, usize, Job)]) -> Vec<Job> {
        let (mut now, mut running, mut done) = (0, Vec::new(), Vec::new());
        let mut later = later.iter().peekable();
        loop {
            fill(&mut processor, now, &mut running);
            running.sort_by_key(|(end, _)| std::cmp::Reverse(*end));
            let next = running.last().map_or(u64::MAX, |(end, _)| *end);
            if let Some((time, pool, job)) = later.next_if(|(time, ..)| *time < next) {
                now = *time;
                processor.push(now, *pool, *job);
                continue;
            }
            let Some((end, slice)) = running.pop() else { return done };
            now = end;
            if let Some(ended) = processor.end(slice) {
                done.push((ended.job.0, now));
                processor.finish(now, ended.pool, ended.stint);
            }
        }
    }

    fn ends(processor: Processor<Job>) -> Vec<Job> {
        ends_with(processor, &[])
    }

    #[test]
    fn threads_of_a_pool_work_side_by_side_as_far_as_cores_reach() {
        let mut two = Processor::new(2, 100, [1, 2]);
        two.push(0, 0, ('a', 1_000_000));
        two.push(0, 0, ('b', 1_000_000));
        two.push(0, 1, ('c', 1_000_000));
        two.push(0, 1, ('d', 1_000_000));
        assert_eq!(ends(two), [('c', 1_000), ('a', 1_000), ('b', 2_000), ('d', 2_000)]);
    }

    #[test]
    fn work_takes_longer_while_other_cores_are_busy() {
        let mut two = Processor::new(2, 150, [1, 1]);
        two.push(0, 0, ('a', 2_000_000));
        two.push(0, 1, ('b', 2_000_000));
        // The first begins when the other core sleeps.
        assert_eq!(ends(two), [('a', 2_000), ('b', 3_000)]);
        let mut alone = Processor::new(2, 150, [1, 1]);
        alone.push(0, 0, ('a', 2_000_000));
        alone.push(0, 0, ('b', 2_000_000));
        assert_eq!(ends(alone), [('a', 2_000), ('b', 4_000)]);
    }

    #[test]
    fn a_long_job_lets_others_in_between() {
        let mut one = Processor::new(1, 100, [1, 1]);
        one.push(0, 0, ('l', 10_000_000));
        one.push(0, 1, ('s', 1_000_000));
        assert_eq!(ends(one), [('s', 4_000), ('l', 11_000)]);
    }

    #[test]
    fn who_wakes_takes_the_core_of_who_has_had_it_for_long_enough() {
        let one = || {
            let mut one = Processor::new(1, 100, [1, 1]);
            one.push(0, 0, ('l', 10_000_000));
            one
        };
        let late = ends_with(one(), &[(8_000, 1, ('s', 1_000_000))]);
        assert_eq!(late, [('s', 9_000), ('l', 11_000)]);
        let soon = ends_with(one(), &[(50, 1, ('s', 1_000_000))]);
        assert_eq!(soon, [('s', 4_000), ('l', 11_000)]);
    }

    #[test]
    fn a_thread_keeps_its_core_while_it_has_jobs_for_a_quantum() {
        let mut one = Processor::new(1, 100, [1, 1]);
        (0..4).for_each(|_| one.push(0, 0, ('a', 1_000_000)));
        one.push(0, 1, ('b', 1_000_000));
        let expected = [('a', 1_000), ('a', 2_000), ('a', 3_000), ('b', 4_000), ('a', 5_000)];
        assert_eq!(ends(one), expected);
    }

    #[test]
    fn what_is_below_a_microsecond_is_not_lost() {
        let mut one = Processor::new(1, 100, [1]);
        (0..1_000).for_each(|_| one.push(0, 0, ('x', 300)));
        assert_eq!(ends(one).last(), Some(&('x', 300)));
    }

    #[test]
    fn what_a_cleared_pool_has_not_begun_is_forgotten() {
        let mut one = Processor::new(1, 100, [1, 1]);
        one.push(0, 0, ('a', 1_000));
        one.push(0, 0, ('b', 1_000));
        one.push(0, 1, ('c', 1_000));
        one.clear(0);
        one.push(0, 0, ('d', 1_000));
        assert_eq!(ends(one), [('c', 1), ('d', 2)]);
    }
}
