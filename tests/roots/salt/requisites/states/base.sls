#!yaml
from base:
  cmd.run:
    - name: echo base >> /srv/out/log
