//! Several threads over one list of partitions: recovery of a partition touches nothing of another.
//!
//! Runs before any shard starts. With one thread everything happens in the order of the list, on
//! the caller's thread, which a simulated world needs.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does `work` for every item and hands back the results in the order of the items; `each` hears
/// of every result as it comes. The first failure ends it, when what is under way has ended.
pub(super) fn in_parallel<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
    mut each: impl FnMut(&R),
) -> Result<Vec<R>, E> {
    let threads = NonZeroUsize::new(threads.min(items.len())).map_or(1, NonZeroUsize::get);
    if threads == 1 {
        let one = |item| work(item).inspect(&mut each);
        return items.iter().map(one).collect();
    }
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, R)> = Vec::with_capacity(items.len());
    let mut failure = None;
    std::thread::scope(|scope| {
        let (tell, hear) = mpsc::channel();
        for _ in 0..threads {
            let (tell, next, work) = (tell.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else {
                        return;
                    };
                    if tell.send((at, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for (at, result) in hear {
            match result {
                Ok(result) => {
                    each(&result);
                    results.push((at, result));
                }
                Err(error) => {
                    failure.get_or_insert(error);
                    next.store(items.len(), Ordering::Relaxed);
                }
            }
        }
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    match failure {
        Some(error) => Err(error),
        None => Ok(results.into_iter().map(|(_, result)| result).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whoever_was_faster() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [0, 1, 3, 200] {
            let mut heard = 0;
            let done = in_parallel(
                threads,
                &items,
                |item| Ok::<_, ()>(item * 2),
                |_| heard += 1,
            );
            let done = done.expect("nothing fails");
            assert!(
                done.iter()
                    .zip(&items)
                    .all(|(done, item)| *done == item * 2)
            );
            assert_eq!((done.len(), heard), (100, 100));
        }
    }

    #[test]
    fn a_failure_is_handed_back_and_ends_the_work() {
        let items: Vec<usize> = (0..10_000).collect();
        for threads in [1, 4] {
            let fail = |item: &usize| if *item == 7 { Err(*item) } else { Ok(()) };
            assert_eq!(in_parallel(threads, &items, fail, |()| {}), Err(7));
        }
    }
}
