#!yaml
base:
  '*':
    - jobs
