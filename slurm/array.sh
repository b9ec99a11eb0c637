#!/bin/bash
# Workers of igneous-ng as an array job: sbatch --array=1-20 slurm/array.sh fq:///shared/queue
# Further words are options of the worker, such as --wait, for a pipeline.
# The queue, the layers and the sources lie on a file system that all nodes share. See docs/slurm.md.
#SBATCH --job-name=igneous-ng
#SBATCH --array=1-10
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=igneous-ng-%A_%a.log
set -euo pipefail

queue="${1:-fq:///shared/queue}"

# exec: the worker takes the place of this shell, so that the TERM that SLURM sends to the batch shell (B:)
# reaches it, and its exit status (75: interrupted, leases given back) is that of the job.
exec igneous-ng execute "$queue" -p "$SLURM_CPUS_PER_TASK" "${@:2}"
