# shellcheck shell=bash
# What the job scripts share: the site's settings, the launch over all nodes, and what becomes of a job that ended.
# A script runs in the folder that holds slurm/, a clone or a project of `tutelage init`, where it was submitted.
set -e # and no -u yet: what activates an environment seldom bears it
# shellcheck disable=SC1091  # the site's own, see site.env.example, or what `make install` made
if [ -f slurm/site.env ]; then . slurm/site.env; elif [ -f .venv/bin/activate ]; then . .venv/bin/activate; fi
set -euo pipefail
: "${RANKS_PER_NODE:=${SLURM_GPUS_ON_NODE:-1}}" "${ENGINE:=ddp}" "${CONTAINER:=}" "${GRACE:=120}" "${DRY_RUN:=}"
[ -z "${SLURM_JOB_ID:-}" ] || DRY_RUN='' # a job is never dry, whatever was in the environment that it was submitted from
child='' stopping='' answer='' call=() on_every_node=()
site=(${STORAGE:+"run.root=$STORAGE/runs" "data.path=$STORAGE/data/\${data.name}"})

fail() { echo "tutelage: $*" >&2 && exit 1; }

[[ $RANKS_PER_NODE =~ ^[1-9][0-9]*$ ]] || fail "RANKS_PER_NODE=$RANKS_PER_NODE: give a number from 1 up"

tutelage() {
  # shellcheck disable=SC2086  # a line of words
  $CONTAINER python -m tutelage "$@"
}

engine=configs/engine/$ENGINE.yaml # one's own, or the one that is installed
if [ ! -f "$engine" ]; then engine=$(tutelage config --path "engine/$ENGINE") || engine=''; fi
[ -n "$engine" ] || fail "ENGINE=$ENGINE is unknown"

arguments() { # DEFAULT "$@": fills `call` with [CONFIG] [key=value ...] and what the site adds
  [ -n "$DRY_RUN" ] || [ -n "${SLURM_JOB_ID:-}" ] || fail "$0 is a job: submit it (sbatch $0), or start slurm/pipeline.sh"
  local config=$1 && shift
  if [ -f "${1:-}" ] || [[ ${1-=} != *=* ]]; then config=$1 && shift; fi
  call=("$config" "${site[@]}" "$@")
  [ -z "$DRY_RUN" ] || return 0
  trap stop_soon USR1    # ahead of the end: see --signal in the scripts
  trap 'stopping=1' TERM # at the end: the ranks hear it too, and have KillWait seconds to write their checkpoint
  local nodes=$SLURM_JOB_NUM_NODES threads=$((${SLURM_CPUS_ON_NODE:-1} / RANKS_PER_NODE))
  on_every_node=(srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --mpi=none --export=ALL)
  export CONTAINER OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}"
  header
}

header() { # of every life of a job in its log
  local restart=${SLURM_RESTART_COUNT:-0} commit
  commit=$(git describe --always --dirty --abbrev=12 --match= 2>/dev/null) || commit=unknown
  # shellcheck disable=SC2086
  ask $CONTAINER python -c 'import importlib.metadata as of, platform
found = {each.name: each.version for each in of.distributions() if each.name in ("torch", "accelerate", "deepspeed", "tutelage")}
print(", ".join(["python " + platform.python_version(), *(f"{name} {found[name]}" for name in sorted(found))]))'
  echo "tutelage: $SLURM_JOB_NAME $(quoted "${call[@]}")"
  echo "  job $SLURM_JOB_ID, restart $restart, $(date --iso-8601=seconds), engine $ENGINE, $RANKS_PER_NODE ranks a node"
  echo "  nodes $(scontrol show hostnames "$SLURM_JOB_NODELIST" | paste --serial --delimiters=' '), commit $commit"
  echo "  $answer"
}

need_slurm() { # CONFIG [key=value ...]
  command -v squeue >/dev/null ||
    fail "squeue: not found: submit on a host with Slurm, give --dry-run, or run it here: tutelage run $(quoted "$@")"
}

quoted() { # WORD ...: as one would type them
  local word words=()
  for word in "$@"; do
    [[ $word =~ ^[[:alnum:]_./=:,@%+*-]+$ ]] || word=${word@Q}
    words+=("$word")
  done
  echo "${words[*]}"
}

prepare() { # the data set of the configuration, on this node, unless it is there
  local state folder name source words
  ask tutelage status --tsv "${call[@]}"
  IFS=$'\t' read -r _ state folder name _ <<<"$answer"
  source=${name%-normals}
  case $source in
    scenes) words=(scenes) ;;
    nyudv2 | cityscapes) words=("$source" "${RAW:-downloads/$source}") ;;
    *) source=$name words=(folder "${RAW:-$name}") ;;
  esac
  words+=("$folder" --jobs "${SLURM_CPUS_ON_NODE:-1}")
  [ "$source" = "$name" ] || words+=(--normals)
  # shellcheck disable=SC2206  # a line of options
  words+=(${PREPARE:-})
  [ "$state" != finished ] || return 0
  [ -z "$DRY_RUN" ] || { quoted python -m tutelage prepare "${words[@]}" && return; }
  attend tutelage prepare "${words[@]}" || { [ -n "$stopping" ] && requeue; } || fail 'prepare failed, see above'
}

stage() { # train|label|evaluate: to its end, or back into the queue
  [ -z "$DRY_RUN" ] || { launch "$1" && return; }
  ask tutelage job begin "$1" "${call[@]}"
  [ "$answer" = start ] || return 0
  attend launch "$1" || true # a launcher's exit status says nothing
  ask tutelage job end "$1" "${call[@]}"
  case $answer in finished) ;; again) requeue ;; *) exit 1 ;; esac
}

stages() { # JOB: all stages of a job, as `tutelage run` would do them
  local each
  ask tutelage job stages "$1"
  for each in $answer; do stage "$each"; done
}

ask() { # COMMAND ...: fills `answer`; an error says what to do, and ends the job for good
  answer=$("$@") && return
  [ -z "$stopping" ] || requeue # unless it was ended with the job
  exit 1
}

table() { # of the networks that are evaluated: the configuration's and its teachers'
  [ -z "$DRY_RUN" ] || return 0
  local folders
  ask tutelage status --tsv "${call[@]}"
  mapfile -t folders < <(awk -F '\t' '$2 == "finished" && ($1 == "teacher" || $1 == "evaluate") { print $3 }' <<<"$answer")
  tutelage table "${folders[@]}"
}

launch() { # one launcher on each node, which starts its ranks
  local nodes=${SLURM_JOB_NUM_NODES:-N} head=HOST port=PORT total="N*$RANKS_PER_NODE" options run=(quoted srun)
  if [ -z "$DRY_RUN" ]; then
    read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    # no client is given a port below 32768; another one after a restart, as a lost node may still hold the old
    port=$((15000 + (SLURM_JOB_ID + 1009 * ${SLURM_RESTART_COUNT:-0}) % 15000)) total=$((nodes * RANKS_PER_NODE))
    run=(exec "${on_every_node[@]}" --kill-on-bad-exit=1 --cpu-bind=none) # ranks share the CPUs
  fi
  options=(--config_file "$engine" --num_processes "$total" --num_machines "$nodes")
  options+=(--main_process_ip "$head" --main_process_port "$port")
  # shellcheck disable=SC2016  # each node's own number
  "${run[@]}" bash -c 'exec $CONTAINER accelerate launch --machine_rank "$SLURM_NODEID" "$@"' launch \
    "${options[@]}" -m tutelage "$1" "${call[@]}"
}

attend() { # COMMAND ...: its exit status, while signals are heard
  local status=0
  [ -z "$stopping" ] || requeue
  "$@" &
  child=$!
  if [ -n "$stopping" ]; then hurry "$child" & fi # the signal came before the child was known
  while kill -0 "$child" 2>/dev/null; do wait "$child" && status=0 || status=$?; done
  child=''
  return "$status"
}

stop_soon() { # the ranks write a checkpoint and end; if they take too long, the one before it must do
  [ -z "$stopping" ] || return 0
  stopping=1
  echo "tutelage: the job is about to be ended: its ranks are asked to stop" >&2
  if [ -n "$child" ]; then hurry "$child" & fi
}

hurry() {
  local end=$((SECONDS + GRACE))
  unset "${!SLURM_GPUS@}" SLURM_CPUS_PER_GPU SLURM_MEM_PER_GPU SLURM_TRES_PER_TASK # this step takes none
  while ((SECONDS < end)) && kill -0 "$1" 2>/dev/null; do
    # a launcher would die of the signal and leave its ranks alone, so each rank gets it; again, if it was too early
    # shellcheck disable=SC2016
    timeout 30 "${on_every_node[@]}" --overlap --mem=0 --gres=none \
      bash -c 'exec $CONTAINER python -m tutelage job stop' || true
    sleep 5
  done
  if kill -0 "$1" 2>/dev/null; then requeue; fi
}

requeue() { # unless the job is being ended from outside: somebody cancelled it, or Slurm has queued it already
  local job said
  for _ in {1..30}; do # the controller may be busy, or away for a moment
    # an array's last task has the number of the whole array, which is not what is to be queued again
    if said=$(scontrol show job --oneliner "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID "); then
      [[ $said = *' JobState=RUNNING '* ]] || exit 1
      [[ $said != *' Requeue=0 '* ]] || break
      job=$SLURM_JOB_ID
      [[ ! $said =~ ' ArrayJobId='([0-9]+)' ArrayTaskId='([0-9]+)' ' ]] || job=${BASH_REMATCH[1]}_${BASH_REMATCH[2]}
      echo 'tutelage: back into the queue, to go on from the last checkpoint' >&2
      scontrol requeue "$job" && exit 0
    fi
    sleep 10
  done
  fail 'there is no way back into the queue: submit it again, and it goes on'
}
