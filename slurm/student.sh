#!/usr/bin/env bash
# Train a student, whose teachers have labelled: `tutelage train CONFIG` over all nodes.
#
#   sbatch --nodes=2 slurm/student.sh [CONFIG] [key=value ...]        (default: configs/cityscapes/ummt-ps.yaml)
#
# docs/cluster.md says more.
#SBATCH --job-name=student
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
cd "${SLURM_SUBMIT_DIR:-.}"
[ -f slurm/common.sh ] || { echo "tutelage: submit it in the folder that holds slurm/" >&2 && exit 1; }
. slurm/common.sh
arguments configs/cityscapes/ummt-ps.yaml "$@"
stages student
