#!/bin/bash
# Workers of igneous-ng on one queue, as an array job; made by `igneous-ng slurm submit`. See docs/slurm.md.
#   sbatch [OPTIONS OF SBATCH] THIS_SCRIPT [QUEUE [OPTIONS OF igneous-ng execute]]
#SBATCH --job-name=igneous-ng
#SBATCH --array=1-10
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=igneous-ng-%A_%a.log
set -u
job="${SLURM_ARRAY_JOB_ID:?give this script to sbatch}_$SLURM_ARRAY_TASK_ID" # a bare job id may mean the whole array
queue=fq:///shared/queue
if [ $# -gt 0 ]; then
  queue="$1"
  shift
fi

# Tasks share most of the job's memory. SLURM says it in MiB: for the node, or for each processor.
memory=$((${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * SLURM_CPUS_PER_TASK))} * 90 / 100))
options=(-p "$SLURM_CPUS_PER_TASK")
if [ "$memory" -gt 0 ]; then options+=(--memory "${memory}Mi"); fi
echo "$(date +%FT%T) $job on $(hostname -s): ${options[*]}, requeued ${SLURM_RESTART_COUNT:-0} times"

# Status 75: interrupted, leases given back. 143: TERM came before the worker could mind it. Then the job waits anew,
# unless somebody else has ended it meanwhile (scancel), or queued it again (preemption): it is not running any more.
finish() {
  trap '' TERM
  state="$(squeue --noheader --jobs "$job" --format %T)"
  echo "$(date +%FT%T) $job: the worker ended with status $1, the job is ${state:-gone}"
  if [[ "$1" =~ ^(75|143)$ && "$state" == RUNNING ]]; then scontrol requeue "$job"; fi
  exit "$1"
}

stop() {
  trap '' TERM
  [ -n "${!:-}" ] || finish 143
  kill -TERM $!
  wait $!
  finish $?
}

# Not by srun, which ends its tasks with KILL. This shell stays, for a worker cannot queue its own job again.
trap stop TERM
igneous-ng execute "$queue" "${options[@]}" "$@" &
wait $!
finish $?
