#!/bin/sh
# One share of a release for each task of an array: sbatch --array=0-7 slurm.sh release.toml /shared/repo
# The array's numbers and count are read by siding itself (SLURM_ARRAY_TASK_ID, _COUNT, _MIN, _STEP).
#SBATCH --job-name=siding-make
#SBATCH --requeue
set -eu
exec "${SIDING:-siding}" publish make "$1" --repo "$2" --threads "${SLURM_CPUS_PER_TASK:-1}"
