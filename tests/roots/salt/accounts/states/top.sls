#!yaml
base:
  '*':
    - accounts
