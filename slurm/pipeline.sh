#!/usr/bin/env bash
# Submit what an experiment still needs: prepare → teacher → label → student → evaluate, each after the one before it.
#
#   slurm/pipeline.sh CONFIG [key=value ...] [--dry-run]
#
# Run it again at any time: what is finished, or in the queue, is not submitted. If a job fails for good, those that
# wait for it are cancelled. docs/cluster.md says more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dry='' words=()
for word in "$@"; do if [ "$word" = --dry-run ]; then dry=1; else words+=("$word"); fi; done
[ "${#words[@]}" -gt 0 ] || { sed -n '4p' "${BASH_SOURCE[0]}" | cut -c3- >&2 && exit 2; }
DRY_RUN=1 && export -n DRY_RUN && . slurm/common.sh
call=("${words[0]}" "${site[@]}" "${words[@]:1}")

rows=$(tutelage status --tsv "${call[@]}")
queue=''
[ -n "$dry" ] || queue=$(squeue --me --noheader --states=PENDING,RUNNING --format='%F %k')
declare -A id=() depth=()
number=0
while IFS=$'\t' read -r script state folder _ after config overrides; do
  IFS=$'\t' read -r -a arguments <<<"$config${overrides:+$'\t'$overrides}"
  needs='' indent=0
  for each in ${after//[,-]/ }; do
    needs+=${id[$each]:+:${id[$each]}}
    ((depth[$each] < indent)) || indent=$((depth[$each] + 1))
  done
  depth[$number]=$indent
  comment="tutelage $script $(realpath -m "$folder")"
  if [ "$state" = finished ]; then
    said=finished
  elif found=$(grep -F -m1 " $comment" <<<"$queue"); then
    id[$number]=${found%% *} said="job ${found%% *}, submitted before"
  else
    extra=SUBMIT_${script^^}
    # shellcheck disable=SC2206  # a line of options
    submit=(sbatch --parsable --comment="$comment" ${!extra-${SUBMIT:-}} "slurm/$script.sh" "${arguments[@]}")
    [ -z "$needs" ] || submit=("${submit[@]:0:2}" "--dependency=afterok$needs" --kill-on-invalid-dep=yes "${submit[@]:2}")
    if [ -n "$dry" ]; then
      id[$number]="ID-OF-${script^^}" said="${submit[*]}"$'\n'$(DRY_RUN=1 "slurm/$script.sh" "${arguments[@]}" | sed 's/^/        /')
    else
      id[$number]=$("${submit[@]}") said="job ${id[$number]}${needs:+ after ${needs#:}}"
    fi
  fi
  printf '%*s%-9s %s: %s\n' $((2 * indent)) '' "$script" "$folder" "$said"
  number=$((number + 1))
done <<<"$rows"
