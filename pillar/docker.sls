docker:
  log_size: 10m
