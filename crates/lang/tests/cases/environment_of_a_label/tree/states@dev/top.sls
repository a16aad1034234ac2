dev:
  '*': [web]
