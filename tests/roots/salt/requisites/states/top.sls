#!yaml
base:
  '*':
    - chain
    - order
