# Drives the hdiffpatch wheel like a program: `diff OLD NEW PATCH` or `apply OLD PATCH OUT`.
# Prints the seconds it took from the first read to the last write, without the start of the interpreter.
import sys
import time

import hdiffpatch


def read(path):
    with open(path, "rb") as file:
        return file.read()


verb, first, second, result = sys.argv[1:]
start = time.perf_counter()
if verb == "diff":
    # Like hdiffz -c-lzma2-9-64m; the wheel has no other matching setting that makes smaller patches.
    compression = hdiffpatch.Lzma2Config(level=9, window=26, threads=1)
    made = hdiffpatch.diff(read(first), read(second), compression, validate=False)
else:
    made = hdiffpatch.apply(read(first), read(second))
with open(result, "wb") as file:
    file.write(made)
print(time.perf_counter() - start)
