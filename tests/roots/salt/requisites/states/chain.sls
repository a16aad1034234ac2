#!yaml
include:
  - base
extend:
  from base:
    cmd.run:
      - name: echo extended >> /srv/out/log
last of all:
  cmd.run:
    - name: echo last >> /srv/out/log
    - order: last
needs what fails:
  cmd.run:
    - name: echo never >> /srv/out/log
    - require:
      - cmd: it fails
when it fails:
  cmd.run:
    - name: echo onfail >> /srv/out/log
    - onfail:
      - cmd: it fails
when it does not fail:
  cmd.run:
    - name: echo never >> /srv/out/log
    - onfail:
      - cmd: from base
it fails:
  cmd.run:
    - name: 'false'
after a change:
  cmd.run:
    - name: echo onchanges >> /srv/out/log
    - onchanges:
      - file: /srv/out/new
after no change:
  cmd.run:
    - name: echo never >> /srv/out/log
    - onchanges:
      - file: /srv/out
/srv/out/new:
  file.managed:
    - contents: new
/srv/out:
  file.directory: []
any of two:
  cmd.run:
    - name: echo any >> /srv/out/log
    - require_any:
      - cmd: it fails
      - file: /srv/out/new
the whole file:
  cmd.run:
    - name: echo sls >> /srv/out/log
    - require:
      - sls: base
before the change:
  cmd.run:
    - name: echo prereq >> /srv/out/log
    - prereq:
      - file: /srv/out/later
/srv/out/later:
  file.managed:
    - contents: later
before no change:
  cmd.run:
    - name: echo never >> /srv/out/log
    - prereq:
      - file: /srv/out
at the end:
  cmd.wait:
    - name: echo listened >> /srv/out/log
    - listen:
      - file: /srv/out/new
      - file: /srv/out/later
pushes itself in:
  cmd.run:
    - name: echo pushed in >> /srv/out/log
    - require_in:
      - cmd: after a change
second:
  cmd.run:
    - name: echo second >> /srv/out/log
    - order: 2
first:
  cmd.run:
    - name: echo first >> /srv/out/log
    - order: 1
