#!yaml
base:
  '*':
    - services
