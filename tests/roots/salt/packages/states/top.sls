#!yaml
base:
  '*':
    - packages
