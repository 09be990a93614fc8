"""Makes a release on a Dask cluster:

python3 siding_dask.py release.toml /shared/repo --shares 8 --address tcp://host:8786
"""

from dask.distributed import Client, LocalCluster

import siding_share
from siding_share import arguments, make, told


def main():
    args = arguments(__doc__)
    local = {"n_workers": args.workers or 2, "threads_per_worker": 1, "dashboard_address": None}
    with Client(args.address or LocalCluster(**local)) as client:
        client.upload_file(siding_share.__file__)
        # `pure=False`: whether a share is made is the repository's to know, not Dask's.
        shares = client.map(
            lambda index: make(args.release, args.repo, index, args.shares, args.threads),
            range(args.shares), pure=False, retries=2,
        )
        told(client.gather(shares))


if __name__ == "__main__":
    main()
