#!/usr/bin/env bash
#SBATCH --job-name=editbench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#
# Runs `bench run` on all GPUs of a Slurm job; what follows the script's name is handed to it:
#
#   sbatch slurm.sh --methods mend,ft --models gpt2 --device cuda --seeds 5 --run sweep --results /shared/results
#
# Submit it from a shell in which the environment with editbench[ray] is active, on a disk that all nodes see.
# Given again it goes on where the last job was stopped.
set -euo pipefail

export RAY_USAGE_STATS_ENABLED=0
# Who knows the token can run code on the nodes; nobody else on the network can.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p) # this script runs there
port=$((20000 + SLURM_JOB_ID % 10000))
resources=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}")
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port "$port" --temp-dir "/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false "${resources[@]}" --block &
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others > 0)); then
    sleep 20 # a node gives up after a minute without a head
    srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" \
        ray start --address "$head:$port" "${resources[@]}" --block &
fi

# The number of workers is settled when the run begins, so all nodes must be there.
python - "$head:$port" "$SLURM_JOB_NUM_NODES" <<'END'
import sys, time
import ray

for _ in range(60):
    try:
        ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
        break
    except ConnectionError:
        time.sleep(5)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(1)
END

bench run --engine ray --address "$head:$port" "$@"
