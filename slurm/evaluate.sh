#!/usr/bin/env bash
# Evaluate a trained network: `tutelage evaluate CONFIG` over all nodes; then the table of it and its teachers.
#
#   sbatch --nodes=2 slurm/evaluate.sh [CONFIG] [key=value ...]        (default: configs/cityscapes/ummt-ps.yaml)
#
# docs/cluster.md says more.
#SBATCH --job-name=evaluate
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
stages evaluate
table
