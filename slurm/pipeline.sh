#!/usr/bin/env bash
# Submit what an experiment still needs: prepare → teacher → label → student → evaluate, each after the one before it.
#
#   slurm/pipeline.sh CONFIG [key=value ...] [--dry-run]
#
# Run it again at any time: what is finished, or in the queue, is not submitted. If a job fails for good, those that
# wait for it are cancelled. If a folder holds a run with other settings or data, nothing is submitted. docs/cluster.md says more.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry='' words=()
for word in "$@"; do if [ "$word" = --dry-run ]; then dry=1; else words+=("$word"); fi; done
[ "${#words[@]}" -gt 0 ] || { sed -n '4p' "${BASH_SOURCE[0]}" | cut -c3- >&2 && exit 2; }
[ . -ef "$root" ] || [[ ${words[0]} = /* ]] || [ ! -e "${words[0]}" ] || words[0]=$PWD/${words[0]} # or a shipped one's name
cd "$root"
for name in $(compgen -e SLURM_); do # what is so of the job that this may run in, is not so of those that it submits
  [[ $name =~ ^SLURM_(CONF|CLUSTERS|JWT)$ ]] || unset "$name"
done
. slurm/common.sh
call=("${words[0]}" "${site[@]}" "${words[@]:1}")

rows=$(tutelage status --tsv "${call[@]}")
others=$(awk -F '\t' '$2 ~ /^other (settings|data)$/ && !seen[$3]++ { print "tutelage: " $3 ": " $4 }' <<<"$rows")
[ -z "$others" ] || { echo "$others" >&2 && fail 'nothing is submitted: give another run.root, run.path or seed, or delete the runs'; }
declare -A queued=() id=() depth=() new=()
if [ -z "$dry" ] && need_slurm "${words[@]}"; then
  jobs=$(squeue --me --noheader --states=PENDING,RUNNING,SUSPENDED --format='%F %k')
  while read -r job comment; do [ -z "$job" ] || queued[$comment]=$job; done <<<"$jobs"
fi
number=0
while IFS=$'\t' read -r -u3 script state folder _ after config overrides; do
  IFS=$'\t' read -r -a arguments <<<"$config${overrides:+$'\t'$overrides}"
  needs='' indent=0 waits=''
  for each in ${after//[,-]/ }; do
    needs+=${id[$each]:+:${id[$each]}} waits+=${new[$each]:-}
    ((depth[$each] < indent)) || indent=$((depth[$each] + 1))
  done
  depth[$number]=$indent
  comment="tutelage $script $(realpath -m "$folder")" job=''
  [ -n "$waits" ] || job=${queued[$comment]:-} # one that waits for what was cancelled will be cancelled too
  if [ "$state" = finished ]; then
    said=finished
  elif [ -n "$job" ]; then
    id[$number]=$job said="job $job, submitted before"
  else
    extra=SUBMIT_${script^^} new[$number]=1
    # shellcheck disable=SC2206  # a line of options
    submit=(sbatch --parsable ${!extra-${SUBMIT:-}} --comment="$comment")
    [ -z "$needs" ] || submit+=("--dependency=afterok$needs" --kill-on-invalid-dep=yes)
    submit+=("slurm/$script.sh" "${arguments[@]}")
    if [ -n "$dry" ]; then
      id[$number]="ID-OF-${script^^}" said=$(quoted "${submit[@]}")$'\n'$(DRY_RUN=1 "slurm/$script.sh" "${arguments[@]}" | sed 's/^/        /')
    else
      job=$("${submit[@]}") id[$number]=${job%%;*} # ID;CLUSTER where there are several
      said="job ${id[$number]}${needs:+ after ${needs#:}}"
    fi
  fi
  printf '%*s%-9s %s: %s\n' $((2 * indent)) '' "$script" "$folder" "$said"
  number=$((number + 1))
done 3<<<"$rows"
