#!yaml
base:
  '*':
    - lines
    - whole
