"""Makes a release on a Ray cluster: python3 siding_ray.py release.toml /shared/repo --shares 8 --address auto"""

import os

import ray

from siding_share import arguments, make, told


def main():
    args = arguments(__doc__)
    if args.address:
        here = os.path.dirname(os.path.abspath(__file__))
        ray.init(address=args.address, runtime_env={"working_dir": here})
    else:
        ray.init(num_cpus=args.workers or 2, include_dashboard=False, configure_logging=False)
    share = ray.remote(num_cpus=1, max_retries=2, retry_exceptions=True)(make)
    shares = [share.remote(args.release, args.repo, i, args.shares, args.threads) for i in range(args.shares)]
    told(ray.get(shares))


if __name__ == "__main__":
    main()
