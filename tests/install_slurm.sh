#!/usr/bin/env bash
# SLURM and munge from Debian's packages, for tests/test_slurm.py. Starts no service, and leaves one that runs alone.
set -euo pipefail
if command -v slurmctld slurmd sbatch munged >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "SLURM is not installed: that takes root and apt-get" >&2
  exit 1
fi
# Packages start their services unless this file says 101. One that is there already is the machine's: it is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
elif "$policy" munge start >/dev/null 2>&1 || [ $? != 101 ]; then
  echo "SLURM is not installed: $policy lets packages start services; install slurmctld, slurmd, slurm-client and munge" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge
