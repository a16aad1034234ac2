#!yaml
base:
  '*':
    - failures
