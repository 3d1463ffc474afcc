"""What Ray is told by the environment; to be imported before Ray is, which reads a part of it then."""

from __future__ import annotations

import os
from pathlib import Path

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU keeps CUDA_VISIBLE_DEVICES as it is
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no log files per trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would not let running trials end; ours does
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # its own state is not used
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
"""Set before Ray is started, unless the user has set them."""

# Ray makes this file when it first starts on a machine; from then on the clusters started there ask for its content,
# which a client sends only if this says so before Ray is imported.
if "RAY_AUTH_TOKEN" in os.environ or Path("~/.ray/auth_token").expanduser().exists():
    os.environ.setdefault("RAY_AUTH_MODE", "token")

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # the first releases that have it leave it off
