#!/usr/bin/env bash
# GitHub Actions, self-hosted runner: see job-started.sh.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lease.sh"

mintfs_leave "$RUNNER_TEMP/mintfs-lease"
