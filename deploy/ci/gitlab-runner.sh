#!/usr/bin/env bash
# GitLab Runner, shell executor with bash. In config.toml:
#   pre_get_sources_script = ". /usr/share/mintfs/ci/gitlab-runner.sh"
#   pre_build_script       = ". /usr/share/mintfs/ci/gitlab-runner.sh build"
#
# Sourced, since each part of a job is a shell of its own that gets no variable from the one before (GitLab Docs,
# "Job execution flow"). What joins them is the folder that the runner keeps beside the project, of which each
# running job has one of its own. A job that was killed could not close its lease: the next one there does.
# shellcheck source=/dev/null
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lease.sh"

mintfs_folder=${RUNNER_TEMP_PROJECT_DIR:-$CI_PROJECT_DIR.tmp}
mintfs_record=$mintfs_folder/mintfs-lease-$(mintfs_word "$CI_JOB_ID")
for mintfs_other in "$mintfs_folder"/mintfs-lease-*; do
  [[ $mintfs_other == "$mintfs_record" ]] || mintfs_leave "$mintfs_other"
done

# A job may name one file for all its parts, also for those that have no hook of ours (after_script, the cache):
#   variables: { GIT_CONFIG_GLOBAL: "$CI_PROJECT_DIR.tmp/gitconfig" }
mintfs_file=${GIT_CONFIG_GLOBAL-}
if [[ $mintfs_file == "$mintfs_folder"/* ]]; then
  mintfs_join "$mintfs_record" "$CI_PIPELINE_ID" "$CI_JOB_ID" --via=global
  if [[ $GIT_CONFIG_GLOBAL != "$mintfs_file" ]]; then # else the view has none
    printf '[include]\n\tpath = ~/.gitconfig\n\tpath = "%s"\n' "$GIT_CONFIG_GLOBAL" >"$mintfs_file"
    export GIT_CONFIG_GLOBAL=$mintfs_file
  fi
else
  mintfs_join "$mintfs_record" "$CI_PIPELINE_ID" "$CI_JOB_ID"
fi

# post_build_script would not do: it is not run when the script has failed.
if [[ ${1-} == build ]]; then trap 'mintfs_leave "$mintfs_record"' EXIT; fi
