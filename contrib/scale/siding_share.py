"""One share of a release, made by the command `siding`; what the drivers beside this file call on each worker."""

import argparse
import json
import os
import subprocess


def make(release, repo, index, count, threads):
    """Runs `siding publish make` for one share and returns its answer."""
    command = [os.environ.get("SIDING", "siding"), "publish", "make", release, "--repo", repo]
    command += ["--index", str(index), "--count", str(count), "--threads", str(threads), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"share {index} of {count}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def arguments(description):
    """The command line that both drivers have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("release", help="the release, a TOML file that all workers see")
    parser.add_argument("repo", help="the repository, that all workers see")
    parser.add_argument("--shares", type=int, default=8, help="how many shares to make of it")
    parser.add_argument("--threads", type=int, default=1, help="how many threads a share uses")
    parser.add_argument("--workers", type=int, help="start so many workers here")
    parser.add_argument("--address", help="use this cluster")
    return parser.parse_args()


def told(answers):
    """Says what was made."""
    jobs = [job for answer in answers for job in answer["jobs"]]
    made = sum(not job["was_there"] for job in jobs)
    print(f"{len(jobs)} jobs, {made} made, {sum(job['bytes'] for job in jobs)} bytes")
