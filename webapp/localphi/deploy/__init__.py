"""localphi on more than one machine: its engine in the replicas of Ray Serve."""
