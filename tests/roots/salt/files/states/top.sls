#!yaml
base:
  '*':
    - managed
    - trees
