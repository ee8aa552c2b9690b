"""Clusters to run sweeps on: started, found by their address, or asked of Slurm."""
