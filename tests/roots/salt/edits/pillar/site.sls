#!yaml
site: lab
text: |
  from the pillar
  two lines
settings:
  port: 8080
  hosts: [a, b]
