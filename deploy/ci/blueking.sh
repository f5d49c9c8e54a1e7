#!/usr/bin/env bash
# BlueKing CI (bk-ci). At the beginning of every bash task that uses git, and in one among the job's post actions:
#   . /usr/share/mintfs/ci/blueking.sh || exit
#   . /usr/share/mintfs/ci/blueking.sh close
#
# The agent sources a task in the shell that the task's first line names, by default with "set -e".
# Not by setEnv: its variables belong to the whole pipeline, and of two jobs side by side one would get the lease of
# the other. BK_CI_BUILD_ID and BK_CI_BUILD_JOB_ID name the job (BlueKing CI Docs, "Pre-defined variables").
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lease.sh"

mintfs_record=${XDG_STATE_HOME:-$HOME/.local/state}/mintfs/ci/$(mintfs_word "$BK_CI_BUILD_ID").$(mintfs_word "$BK_CI_BUILD_JOB_ID")
if [[ ${1-} == close ]]; then
  mintfs_leave "$mintfs_record"
else
  mintfs_join "$mintfs_record" "$BK_CI_BUILD_ID" "$BK_CI_BUILD_JOB_ID"
fi
