#!/usr/bin/env bash
# What the hooks of all runners do; they source it, bash runs it.
#
# Which connectors a job gets stands in /etc/mintfs/ci.options, one option of 'mintfs lease open' a line:
#   --connector=github
#   --ttl=3h
#
# A runner's variables are not trusted: whoever names a branch or a job chooses them. They become labels with all
# but a few characters replaced, cut to what a label may be, each one word among arguments. What is evaluated
# was printed by mintfs, which quotes it. No file that is written here holds a secret: an id is of use to its user alone.

# A runner's text, made harmless also as a part of a file's name. What is lost of it comes back as a checksum, since
# jobs with different names must not become one: mintfs_word TEXT
mintfs_word() {
  local LC_ALL=C # each byte for itself
  local word=${1//[!A-Za-z0-9._-]/_} sum
  if [[ $word != "$1" || ${#word} -gt 128 ]]; then
    sum=$(printf %s "$1" | sha256sum)
    word=${word:0:115}-${sum:0:12}
  fi
  printf %s "$word"
}

# Takes what 'mintfs lease open|show --format env' printed into the environment: mintfs_export LINES
mintfs_export() {
  eval "$1"
  mintfs_names=$(sed -n 's/^export \([A-Z0-9_]*\)=.*/\1/p' <<<"$1")
}

# What every job gets, one option a word: mintfs_read_options
mintfs_read_options() {
  local line
  mintfs_options=()
  while IFS= read -r line || [[ $line ]]; do
    [[ -z $line || $line == '#'* ]] || mintfs_options+=("$line")
  done <"${MINTFS_CI_OPTIONS:-/etc/mintfs/ci.options}"
}

# Opens a lease with the labels build and job, and exports what points git at it: mintfs_open BUILD JOB [OPTION]...
mintfs_open() {
  local lines
  if [[ -z ${1-} || -z ${2-} ]]; then
    echo "mintfs: the runner names no build or no job; is this its hook?" >&2
    return 1
  fi
  mintfs_read_options || return
  lines=$(mintfs lease open "${mintfs_options[@]}" "${@:3}" --label "build=$(mintfs_word "$1")" \
    --label "job=$(mintfs_word "$2")" --format env) || return
  mintfs_export "$lines"
}

# The same for a job whose steps share no variables: FILE, where only the job's user may look, remembers the id,
# and whoever comes later joins: mintfs_join FILE BUILD JOB [OPTION]...
mintfs_join() {
  local id='' word lines
  local -a show=()
  if [[ -f $1 ]]; then read -r id <"$1" || true; fi
  if [[ $id =~ ^[a-z2-7]{26}$ ]]; then
    mintfs_read_options || return
    for word in "${mintfs_options[@]}" "${@:4}"; do
      [[ $word != --via=* ]] || show+=("$word")
    done
    if lines=$(mintfs lease show "$id" "${show[@]}" --format env 2>/dev/null); then
      mintfs_export "$lines"
      return
    fi
  fi
  mintfs_open "${@:2}" || return
  (umask 077 && mkdir -p -- "${1%/*}" && printf '%s\n' "$MINTFS_LEASE" >"$1") && return
  mintfs_close "$MINTFS_LEASE"
  return 1
}

# One that cannot be closed ends by itself; the result of the job is not ours to change: mintfs_close ID
mintfs_close() {
  mintfs lease close "$1" || true
}

# Closes the lease that FILE remembers, if there is one: mintfs_leave FILE
mintfs_leave() {
  local id=''
  [[ -f $1 ]] || return 0
  read -r id <"$1" || true
  rm -f -- "$1"
  [[ ! $id =~ ^[a-z2-7]{26}$ ]] || mintfs_close "$id"
}

# What was exported, a NAME=value a line, for a runner that reads such files. To some an empty value is a variable to
# unset, without which git does not start, so the one entry that has such a value, "credential.helper=", becomes a file
# that says the same.
mintfs_print() {
  local name value entry file
  file=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/no-helper.gitconfig
  for name in $mintfs_names; do
    value=${!name}
    entry=GIT_CONFIG_VALUE_${name#GIT_CONFIG_*_}
    if [[ $name == GIT_CONFIG_KEY_* && ! ${!entry} ]]; then
      value=include.path
    elif [[ $name == "$entry" && ! $value ]]; then
      value=$file
    fi
    if [[ $value == *$'\n'* ]]; then
      echo "mintfs: $name has two lines, which this runner cannot pass on" >&2
      return 1
    fi
    printf '%s=%s\n' "$name" "$value"
  done
}

# Of what was exported the entries of git's (with --credential-store, which helper to ask), for steps that get no
# variable and so are told the lease there: mintfs_write FILE
mintfs_write() {
  local name value
  for name in $mintfs_names; do
    [[ $name == GIT_CONFIG_KEY_* ]] || continue
    value=GIT_CONFIG_VALUE_${name##*_}
    value=${!value}
    if [[ $value == *mintfs || $value == *mintfs\' ]]; then value+=" --lease $MINTFS_LEASE"; fi
    git config --file "$1" --add "${!name}" "$value"
  done
}

# The other tools' files of the view, as links in a home that is the job's own, where these look by themselves. What is
# there already stays: mintfs_link HOME
mintfs_link() {
  local view file
  view=$(mintfs lease show "$MINTFS_LEASE" | sed -n 's/^path  *//p')
  while IFS= read -r file; do
    if [[ ! -e $1/$file ]]; then mkdir -p "$(dirname "$1/$file")" && ln -sf "$view/$file" "$1/$file"; fi
  done < <(find "$view" -type f ! -path "$view/git/*" ! -path "$view/.gitconfig" ! -name ca.crt -printf '%P\n')
}

# The option that ends the lease with our parent, even when that is killed; nothing where our parent is not the
# program that runs this one job: mintfs_parent NAME
mintfs_parent() {
  local name=''
  read -r name <"/proc/$PPID/comm" || true
  [[ $name != "$1" ]] || printf %s "--pid=$PPID"
}
