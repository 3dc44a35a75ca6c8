"""Runs on a SLURM cluster: `attnscape reproduce --cluster examples/slurm_cluster.py:factory`.

Needs `pip install attnscape[cluster] dask-jobqueue` on the machine where jobs are submitted, and a
folder of results (`--out`) that all machines share. PBS, LSF, SGE and others have classes of the
same kind in dask-jobqueue. Copy this file, and change the numbers to what your cluster offers.
"""

import os

from dask_jobqueue import SLURMCluster

JOBS = int(os.environ.get("JOBS", "10"))
PROCESSORS = 8  # of a job
MEMORY = "16GB"
WALLTIME = "04:00:00"


def factory() -> SLURMCluster:
    """Jobs of one worker each, which computes one chunk at a time on all of its processors."""
    cluster = SLURMCluster(
        cores=1,  # chunks at a time; their seeds have the threads that PJRT_NPROC gives
        processes=1,
        job_cpu=PROCESSORS,
        memory=MEMORY,
        walltime=WALLTIME,
        job_script_prologue=[
            f"export PJRT_NPROC={PROCESSORS}",  # not 1: XLA's sums would have other last bits
            "export OMP_NUM_THREADS=1",
            "export JAX_PLATFORMS=cpu",
        ],
        # A worker leaves before its job's time is up; what it was training goes on elsewhere, from
        # its last checkpoint.
        worker_extra_args=["--lifetime", "230m", "--lifetime-stagger", "8m"],
    )
    cluster.scale(jobs=JOBS)
    return cluster
