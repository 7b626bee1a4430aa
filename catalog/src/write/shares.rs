//! Work that several tasks share: each has neighbouring parts of it, so that what was clustered stays so, and takes
//! some of the others' when it is done with them, so that no thread waits for the last one.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// What each task has left to do.
#[derive(Debug)]
pub struct Shares<T>(Mutex<Vec<VecDeque<T>>>);

impl<T> Shares<T> {
    /// As many parts for each task.
    pub fn new(parts: Vec<T>, tasks: usize) -> Self {
        let count = parts.len();
        let mut shares: Vec<VecDeque<T>> = (0..tasks).map(|_| VecDeque::new()).collect();
        for (number, part) in parts.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(number * tasks / count) {
                share.push_back(part);
            }
        }
        Self(Mutex::new(shares))
    }

    /// What the task is to do next: the next part of its own, or the last one of another task, of the one that has
    /// most left. If there are some that fit to what it has done before, one of those.
    pub fn next(&self, task: usize, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut shares = self.0.lock();
        if let Some(own) = shares.get_mut(task).and_then(VecDeque::pop_front) {
            return Some(own);
        }
        let worth = |share: &&mut VecDeque<T>| (share.back().is_some_and(&fits), share.len());
        shares.iter_mut().max_by_key(worth)?.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_once() {
        for (parts, tasks) in [(0, 3), (1, 3), (7, 3), (9, 3), (5, 1)] {
            let shares = Shares::new((0..parts).collect(), tasks);
            let mut taken: Vec<usize> = std::iter::from_fn(|| shares.next(tasks - 1, |_| true)).collect();
            taken.sort_unstable();
            assert_eq!(taken, (0..parts).collect::<Vec<_>>());
            assert_eq!(shares.next(0, |_| false), None);
        }
    }

    #[test]
    fn a_task_takes_its_own_first_and_then_from_the_end_of_the_largest() {
        let shares = Shares::new((0..7).collect(), 3);
        let next = |task| shares.next(task, |_| true);
        assert_eq!([next(1), next(1), next(2)], [Some(3), Some(4), Some(5)]);
        assert_eq!([next(1), next(0)], [Some(2), Some(0)]);
    }

    #[test]
    fn a_task_takes_what_fits() {
        let shares = Shares::new((0..9).collect(), 3);
        let next = |fits: usize| shares.next(0, |part| *part == fits);
        assert_eq!([next(0), next(0), next(0)], [Some(0), Some(1), Some(2)]);
        assert_eq!([next(5), next(7), next(4)], [Some(5), Some(8), Some(4)]);
        assert_eq!([next(3), next(0), next(0), next(0)], [Some(3), Some(7), Some(6), None]);
    }
}
