"""Twenty runs killed at random moments and resumed: does each end bit for bit where the uninterrupted one ends?

python -m tests.benchmarks.bench_resume [KILLS]    about 10 minutes on two cores
"""

import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import hemony, machine
from tests.test_resume import CASES, equal, final, start, step_of, stop_at

PER_RUN = 2  # kills of one run


def main(kills: int) -> int:
    """The exit code: 1 if a run ended elsewhere."""
    draw, done, same = random.Random(), 0, 0
    with tempfile.TemporaryDirectory() as base:
        whole = {}
        while done < kills:
            name = draw.choice(sorted(CASES))
            arguments = ["train", "data=digits", *CASES[name], "trainer.max_epochs=2", "trainer.batch_size=64"]
            if name not in whole:
                whole[name] = Path(base, f"whole {len(whole)}")
                hemony(*arguments, f"output={whole[name]}")
            run = Path(base, f"killed {done}")
            process = start(*arguments, f"output={run}")
            moments = sorted(draw.sample(range(1, step_of(whole[name]) - 1), PER_RUN))
            for moment in moments:
                stop_at(process, run, moment, signal.SIGKILL)
                process.communicate()
                process = start("train", f"resume={run}")
            _, errors = process.communicate()
            ended_alike = process.returncode == 0 and equal(final(whole[name]), final(run))
            done += PER_RUN
            same += PER_RUN * ended_alike
            print(f"{name}, killed after steps {moments}: {'equal' if ended_alike else f'DIFFERENT {errors}'}", flush=True)
    print(f"{same} of {done} kills ended bit for bit where the uninterrupted run ended, {machine()}")
    return int(same != done)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
