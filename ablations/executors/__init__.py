"""Running a study's trials elsewhere: as tasks of a Ray cluster, or as an array of worker loops under Slurm."""
