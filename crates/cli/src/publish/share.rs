//! Which share of the work is this process's: said on the command line, or by what runs it many times.

use crate::failure::Failure;

/// The share and how many there are; everything if nobody says anything.
pub(crate) fn of(
    index: Option<usize>,
    count: Option<usize>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(usize, usize), Failure> {
    let number = |name: &str| variable(name).map(|text| parsed(name, &text)).transpose();
    let (index, count) = if let Some(index) = index {
        (index, count.ok_or_else(|| missing("--index", "--count"))?)
    } else if let Some(index) = number("JOB_COMPLETION_INDEX")? {
        let count = count.map_or_else(|| number("JOB_COMPLETIONS"), |count| Ok(Some(count)))?;
        (index, count.ok_or_else(|| missing("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS, or --count,"))?)
    } else if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
        let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
        let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
        let count = count.map_or_else(|| number("SLURM_ARRAY_TASK_COUNT"), |count| Ok(Some(count)))?;
        let count =
            count.ok_or_else(|| missing("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT, or --count,"))?;
        (id.saturating_sub(first) / step, count)
    } else if count.is_some_and(|count| count > 1) {
        return Err(missing("--count", "--index"));
    } else {
        (0, count.unwrap_or(1))
    };
    if index >= count {
        return Err(Failure::usage(format!("there is no share {index} of {count}: they count from 0")));
    }
    Ok((index, count))
}

fn parsed(name: &str, text: &str) -> Result<usize, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("the variable {name} is no number: {text:?}")))
}

fn missing(there: &str, absent: &str) -> Failure {
    Failure::usage(format!("{there} is given; {absent} must be too"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        variables: &[(&str, &str)],
        index: Option<usize>,
        count: Option<usize>,
    ) -> Option<(usize, usize)> {
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        of(index, count, variable).ok()
    }

    #[test]
    fn the_engine_that_runs_it_says_which_share() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "5")];
        assert_eq!(with(&[], None, None), Some((0, 1)));
        assert_eq!(with(&kubernetes, None, None), Some((3, 5)));
        assert_eq!(with(&kubernetes[..1], None, Some(4)), Some((3, 4)));
        assert_eq!(with(&kubernetes, Some(1), Some(2)), Some((1, 2)), "the command line decides");
        let slurm = [("SLURM_ARRAY_TASK_ID", "11"), ("SLURM_ARRAY_TASK_COUNT", "4")];
        let slurm = [&slurm[..], &[("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_STEP", "2")]].concat();
        assert_eq!(with(&slurm, None, None), Some((3, 4)));
    }

    #[test]
    fn half_a_share_is_none() {
        assert_eq!(with(&[("JOB_COMPLETION_INDEX", "3")], None, None), None);
        assert_eq!(with(&[("JOB_COMPLETION_INDEX", "x"), ("JOB_COMPLETIONS", "5")], None, None), None);
        assert_eq!(with(&[("SLURM_ARRAY_TASK_ID", "1")], None, None), None);
        assert_eq!(with(&[], Some(0), None), None);
        assert_eq!(with(&[], None, Some(2)), None);
        assert_eq!(with(&[], Some(2), Some(2)), None);
        assert_eq!(with(&[], Some(0), Some(0)), None);
    }
}
