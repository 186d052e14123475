//! Cores that threads take turns on: a machine's, or one machine's that all nodes share.
//!
//! A *pool* is a number of threads that work off one queue. A thread that has a job waits for a
//! core, first come first served, and keeps it while it has jobs, for a quantum at most, as with an
//! operating system that is fair. So what comes for the others meanwhile waits, and is done at once.
//! Cores that share what they are made of are slower while others are busy, too. Times are in
//! nanoseconds.

use std::collections::VecDeque;

/// How long a thread keeps a core that others wait for: 3 ms, about what Linux gives it.
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

/// A job that waits for a core: its pool, and what is left of it once that is known.
struct Ready<J> {
    pool: usize,
    job: J,
    left: Option<u64>,
    /// How long its thread has had its core already.
    stint: u64,
}

/// A job that has a core now.
pub(crate) struct Slice<J> {
    /// Its pool.
    pub pool: usize,
    /// It.
    pub job: J,
    /// What is left of it behind this slice; `None` until it is known what it costs.
    pub left: Option<u64>,
    /// How long its thread has had its core already.
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

    /// Gives a pool a job.
    pub fn push(&mut self, pool: usize, job: J) {
        self.pools[pool].queue.push_back(job);
        self.admit(pool);
    }

    fn admit(&mut self, at: usize) {
        let pool = &mut self.pools[at];
        while pool.active < pool.width
            && let Some(job) = pool.queue.pop_front()
        {
            pool.active += 1;
            self.ready.push_back(Ready { pool: at, job, left: None, stint: 0 });
        }
    }

    /// The next job that gets a core, if one is idle. [`Processor::slice`] says for how long.
    pub fn take(&mut self) -> Option<Slice<J>> {
        if self.idle == 0 {
            return None;
        }
        let Ready { pool, job, left, stint } = self.ready.pop_front()?;
        self.idle -= 1;
        Some(Slice { pool, job, left, stint })
    }

    /// How long a job of a pool that costs `left` keeps its core, in microseconds, what is left then,
    /// and how long its thread has had its core.
    pub fn slice(&mut self, pool: usize, left: u64, stint: u64) -> (u64, u64, u64) {
        let (busy, others) = (self.cores - self.idle, self.cores.saturating_sub(1).max(1));
        let percent = 100 + (self.crowded - 100) * busy.saturating_sub(1) as u64 / others as u64;
        let (needed, room) = (left * percent / 100, QUANTUM_NS.saturating_sub(stint));
        let slice = needed.min(room);
        let left = if needed <= room { 0 } else { (left - slice * 100 / percent).max(1) };
        self.pools[pool].used += slice;
        let exact = slice + self.rest;
        self.rest = exact % 1_000;
        (exact / 1_000, left, stint + slice)
    }

    /// A slice is over. If something is left of the job, its thread waits for a core again. If not,
    /// the job is done: [`Processor::finish`] or [`Processor::block`] follows.
    pub fn put(&mut self, pool: usize, job: J, left: u64) -> Option<J> {
        if left == 0 {
            return Some(job);
        }
        self.idle += 1;
        self.ready.push_back(Ready { pool, job, left: Some(left), stint: 0 });
        None
    }

    /// Whether a core sleeps, which a thread that gets a job wakes. Where none does, threads have to
    /// wait, and find one awake.
    pub const fn sleeps(&self) -> bool {
        self.idle > 0
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

    /// A thread is done with its job and takes the next: on its core, if its quantum is not over.
    pub fn finish(&mut self, at: usize, stint: u64) {
        self.idle += 1;
        let pool = &mut self.pools[at];
        match pool.queue.pop_front() {
            Some(job) if stint < QUANTUM_NS => {
                self.ready.push_front(Ready { pool: at, job, left: None, stint });
            }
            Some(job) => self.ready.push_back(Ready { pool: at, job, left: None, stint: 0 }),
            None => pool.active -= 1,
        }
        self.admit(at);
    }

    /// A thread is done with its job, but waits for something that needs no core.
    pub const fn block(&mut self) {
        self.idle += 1;
    }

    /// What a thread waited for is there: it takes the next job.
    pub fn resume(&mut self, pool: usize) {
        self.pools[pool].active -= 1;
        self.admit(pool);
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

    /// Works everything off; each job's end in microseconds, in order.
    fn ends(mut processor: Processor<(char, u64)>) -> Vec<(char, u64)> {
        let (mut now, mut running, mut done) = (0, Vec::new(), Vec::new());
        loop {
            while let Some(slice) = processor.take() {
                let left = slice.left.unwrap_or(slice.job.1);
                let (us, left, stint) = processor.slice(slice.pool, left, slice.stint);
                running.push((now + us, slice.pool, slice.job, left, stint));
            }
            running.sort_by_key(|(end, ..)| std::cmp::Reverse(*end));
            let Some((end, pool, job, left, stint)) = running.pop() else { return done };
            now = end;
            if let Some(job) = processor.put(pool, job, left) {
                done.push((job.0, now));
                processor.finish(pool, stint);
            }
        }
    }

    #[test]
    fn threads_of_a_pool_work_side_by_side_as_far_as_cores_reach() {
        let mut two = Processor::new(2, 100, [1, 2]);
        two.push(0, ('a', 1_000_000));
        two.push(0, ('b', 1_000_000));
        two.push(1, ('c', 1_000_000));
        two.push(1, ('d', 1_000_000));
        assert_eq!(ends(two), [('c', 1_000), ('a', 1_000), ('b', 2_000), ('d', 2_000)]);
    }

    #[test]
    fn work_takes_longer_while_other_cores_are_busy() {
        let mut two = Processor::new(2, 150, [1, 1]);
        two.push(0, ('a', 2_000_000));
        two.push(1, ('b', 2_000_000));
        // The first begins when the other core sleeps.
        assert_eq!(ends(two), [('a', 2_000), ('b', 3_000)]);
        let mut alone = Processor::new(2, 150, [1, 1]);
        alone.push(0, ('a', 2_000_000));
        alone.push(0, ('b', 2_000_000));
        assert_eq!(ends(alone), [('a', 2_000), ('b', 4_000)]);
    }

    #[test]
    fn a_long_job_lets_others_in_between() {
        let mut one = Processor::new(1, 100, [1, 1]);
        one.push(0, ('l', 10_000_000));
        one.push(1, ('s', 1_000_000));
        assert_eq!(ends(one), [('s', 4_000), ('l', 11_000)]);
    }

    #[test]
    fn a_thread_keeps_its_core_while_it_has_jobs_for_a_quantum() {
        let mut one = Processor::new(1, 100, [1, 1]);
        (0..4).for_each(|_| one.push(0, ('a', 1_000_000)));
        one.push(1, ('b', 1_000_000));
        let expected = [('a', 1_000), ('a', 2_000), ('a', 3_000), ('b', 4_000), ('a', 5_000)];
        assert_eq!(ends(one), expected);
    }

    #[test]
    fn what_is_below_a_microsecond_is_not_lost() {
        let mut one = Processor::new(1, 100, [1]);
        (0..1_000).for_each(|_| one.push(0, ('x', 300)));
        assert_eq!(ends(one).last(), Some(&('x', 300)));
    }

    #[test]
    fn what_a_cleared_pool_has_not_begun_is_forgotten() {
        let mut one = Processor::new(1, 100, [1, 1]);
        one.push(0, ('a', 1_000));
        one.push(0, ('b', 1_000));
        one.push(1, ('c', 1_000));
        one.clear(0);
        one.push(0, ('d', 1_000));
        assert_eq!(ends(one), [('c', 1), ('d', 2)]);
    }
}
