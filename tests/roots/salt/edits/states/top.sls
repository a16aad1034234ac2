#!yaml
base:
  '*':
    - lines
