#!/usr/bin/env bash
# GitHub Actions, self-hosted runner. In the runner's .env:
#   ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/share/mintfs/ci/github-actions/job-started.sh
#   ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/usr/share/mintfs/ci/github-actions/job-completed.sh
# (GitHub Docs, "Running scripts before or after a job".) Later steps get what is written to $GITHUB_ENV, the other
# hook does not, so the id is also in $RUNNER_TEMP, which the runner empties between jobs. The jobs of a matrix have one
# GITHUB_JOB, but never one runner at the same time.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../lease.sh"

record=$RUNNER_TEMP/mintfs-lease
mintfs_leave "$record"
worker=$(mintfs_parent Runner.Worker)
mintfs_join "$record" "$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT" "${GITHUB_JOB:+$GITHUB_JOB.$RUNNER_NAME}" ${worker:+"$worker"}
mintfs_print >>"$GITHUB_ENV"
