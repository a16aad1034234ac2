#!yaml
base:
  '*':
    - commands
