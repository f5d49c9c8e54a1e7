#!/usr/bin/env bash
# Drone's exec runner and Woodpecker's local backend: "open" in the first step, "close" in a last one that runs
# whatever happened (when: status: [success, failure]).
#
# They know no hooks and pass no variables on, but give each pipeline a home of its own (DRONE_BUILD_NUMBER and
# others: Drone Docs, "Environment reference"; CI_PIPELINE_NUMBER and others: Woodpecker Docs, "Environment
# variables"). So what they need goes into ~/.gitconfig there, and never into that of a person. Of a matrix the number
# tells who is who.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lease.sh"

record=$HOME/.mintfs-lease
case ${1-} in
  open)
    if [[ $HOME -ef $(getent passwd "$EUID" | cut -d: -f6) ]]; then
      echo "mintfs: $HOME is this user's own home, not one of the pipeline; nothing was done" >&2
      exit 1
    fi
    build=${CI_PIPELINE_NUMBER:-${DRONE_BUILD_NUMBER-}}
    name=${CI_REPO:-${DRONE_REPO-}}.${CI_WORKFLOW_NAME:-${DRONE_STAGE_NAME-}}
    name+=.${CI_WORKFLOW_NUMBER:-${DRONE_STAGE_NUMBER-}}
    mintfs_leave "$record"
    mintfs_join "$record" "$build" "$name" --via=global
    if [[ ${GIT_CONFIG_GLOBAL-} ]]; then
      git config --file "$HOME/.gitconfig" --add include.path "$GIT_CONFIG_GLOBAL"
    fi
    mintfs_write "$HOME/.gitconfig"
    mintfs_link "$HOME"
    ;;
  close) mintfs_leave "$record" ;;
  *)
    echo "usage: drone-woodpecker.sh open|close" >&2
    exit 2
    ;;
esac
