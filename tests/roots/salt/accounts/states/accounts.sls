#!yaml
web:
  group.present: []
ops:
  group.present:
    - gid: 3100
there:
  group.present:
    - gid: 3000
daemons:
  group.present:
    - system: True
plain:
  user.present: []
ada:
  user.present:
    - uid: 3101
    - gid: 3100
    - fullname: Ada Lovelace
    - shell: /bin/bash
    - home: /srv/ada
    - groups:
      - web
      - daemons
    - password: $6$lab$B3HjAh5uU8ATRF1wAHAjtr10CdKFChvwxmiNnV1H6Jqlr8yNtyzRXYGvJhC6yTY5RJqy0mGaRWxsO4YZxKDdV.
    - require:
      - group: ops
      - group: web
old:
  user.present:
    - shell: /bin/bash
    - fullname: Old hand
    - groups:
      - web
    - remove_groups: False
worker:
  user.present:
    - system: True
    - createhome: False
    - home: /nonexistent
    - shell: /usr/sbin/nologin
hidden:
  user.present:
    - optional_groups:
      - neither
