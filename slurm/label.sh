#!/usr/bin/env bash
# Write a trained teacher's pseudo-labels: `tutelage label CONFIG` over all nodes. Several jobs may do it at once.
#
#   sbatch --nodes=2 slurm/label.sh [CONFIG] [key=value ...]        (default: configs/cityscapes/mmmt-d.yaml)
#
# docs/cluster.md says more.
#SBATCH --job-name=label
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
cd "${SLURM_SUBMIT_DIR:-.}"
[ -f slurm/common.sh ] || { echo "tutelage: submit it in the folder that holds slurm/" >&2 && exit 1; }
. slurm/common.sh
arguments configs/cityscapes/mmmt-d.yaml "$@"
stages label
