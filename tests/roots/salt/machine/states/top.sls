#!yaml
base:
  '*':
    - jobs
    - machine
