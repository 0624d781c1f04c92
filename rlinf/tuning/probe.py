"""Two iterations of a training, the second of which is measured; nothing is kept.

python -m rlinf.tuning.probe DESCRIPTOR CONFIG RESULT.json key=value ...

The process ends when the other end of the pipe DESCRIPTOR closes.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from rlinf.config.load import Loaded, load
from rlinf.envs.hosting.child import end_with_owner
from rlinf.errors import EnvironmentFailure, NumericsError, UserError, WorkerFailed
from rlinf.logging.writers import METRICS_FILE
from rlinf.runners.run import open_run
from rlinf.runners.schedules import settle_training
from rlinf.runners.train import Training, iterate, log, started
from rlinf.runners.warmup import given_weights

ERROR = "error: "
"""How the report of an error begins."""
ALONE = (
    "runner.max_steps=2",
    "runner.val_check_interval=-1",
    "runner.save_interval=-1",
    "runner.resume_dir=null",
    "runner.logger.logger_backends=[]",
    "env.train.video_cfg.save_video=false",
)
"""What belongs to a run and not to an iteration is left out."""


def measure(loaded: Loaded) -> dict[str, float]:
    """The metrics of the second iteration; in the first, caches fill and libraries compile."""
    config, plan = loaded.config, loaded.plan
    config.runner.logger.run_dir.mkdir(parents=True)
    with open_run(config) as run, ExitStack() as stack:
        config = settle_training(given_weights(config), plan, run)
        workers = stack.enter_context(started(config, plan, run))
        training = Training.of(config, plan, 2, run, workers)
        stack.callback(training.collector.close)
        run.open_writers(None)
        for step in (1, 2):
            metrics = iterate(training)
            log(training, step, metrics, workers.timeline())
    last = (config.runner.logger.run_dir / METRICS_FILE).read_text().splitlines()[-1]
    found: dict[str, float] = json.loads(last)
    return found


def main() -> None:
    """Measures and writes the metrics."""
    life, name, result, *overrides = sys.argv[1:]
    end_with_owner(int(life))
    try:
        metrics = measure(load(name, overrides))
    except (UserError, EnvironmentFailure, NumericsError, WorkerFailed) as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    Path(result).write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
