dev:
  '*': [p]
