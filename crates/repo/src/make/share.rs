//! Who makes what, if many do.

/// The share, below `count`, of each job, by the jobs' costs.
///
/// The largest goes first, always to the share that has least yet (Graham's rule: the longest share is at most a third
/// longer than it need be). Every worker comes to the same answer by itself, and every job is in exactly one share.
pub fn share(costs: &[u64], count: usize) -> Vec<usize> {
    let mut loads = vec![0u64; count.max(1)];
    let mut order: Vec<usize> = (0..costs.len()).collect();
    let cost = |job: usize| costs.get(job).copied().unwrap_or(0);
    order.sort_by_key(|job| (std::cmp::Reverse(cost(*job)), *job));
    let mut shares = vec![0; costs.len()];
    for job in order {
        let Some((least, load)) = loads.iter_mut().enumerate().min_by_key(|(_, load)| **load) else { break };
        // A job that costs nothing is still work: without this all of them went to one share.
        *load = load.saturating_add(cost(job).max(1));
        if let Some(share) = shares.get_mut(job) {
            *share = least;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_job_is_in_exactly_one_share_and_no_share_is_far_too_long(
            costs in proptest::collection::vec(0u64..1_000_000, 0..60), count in 1usize..=40,
        ) {
            let shares = share(&costs, count);
            prop_assert_eq!(shares.len(), costs.len());
            prop_assert!(shares.iter().all(|share| *share < count));
            prop_assert_eq!(&share(&costs, count), &shares, "another worker must come to the same");
            let load = |share: usize| -> u64 {
                costs.iter().zip(&shares).filter(|(_, of)| **of == share).map(|(cost, _)| (*cost).max(1)).sum()
            };
            let longest = (0..count).map(load).max().unwrap_or(0);
            let sum: u64 = costs.iter().map(|cost| (*cost).max(1)).sum();
            let best = sum.div_ceil(count as u64).max(costs.iter().copied().max().unwrap_or(0));
            prop_assert!(longest <= best * 2, "{} against {}", longest, best);
        }
    }

    #[test]
    fn equal_jobs_are_spread_evenly() {
        for count in 1..=40 {
            let shares = share(&[0; 40], count);
            let most =
                (0..count).map(|share| shares.iter().filter(|of| **of == share).count()).max().unwrap();
            assert_eq!(most, 40usize.div_ceil(count), "{count} shares");
        }
    }
}
