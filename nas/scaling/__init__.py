"""From one baseline to a family: uniform, fast, non-uniform and measured scaling, one rule a file."""
