#!yaml
base:
  '*': [site]
