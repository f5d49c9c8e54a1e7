#!/usr/bin/env bash
# Jenkins: "open" prints what the step withEnv takes, "close" closes the lease that it is told in MINTFS_LEASE.
#
#   def mintfs = '/usr/share/mintfs/ci/jenkins.sh'
#   withEnv(sh(script: "${mintfs} open", returnStdout: true).trim().split('\n') as List) {
#     try { sh 'git clone ...' } finally { sh "${mintfs} close" }
#   }
#
# (Jenkins Docs, "Pipeline: Basic Steps", withEnv.) Nothing that a job can choose is in that text.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lease.sh"

case ${1-} in
  open)
    mintfs_open "$BUILD_NUMBER" "$JOB_NAME"
    mintfs_print
    ;;
  close) mintfs_close "$MINTFS_LEASE" ;;
  *)
    echo "usage: jenkins.sh open|close" >&2
    exit 2
    ;;
esac
