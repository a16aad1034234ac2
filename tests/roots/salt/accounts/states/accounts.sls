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
gone:
  user.absent:
    - purge: True
gone-kept:
  user.absent: []
never-there:
  user.absent: []
gone-group:
  group.absent: []
never-there-group:
  group.absent:
    - name: never-there
members:
  group.present:
    - members:
      - old
      - daemon
more-members:
  group.present:
    - addusers:
      - old
    - delusers:
      - daemon
renumbered:
  group.present:
    - gid: 3300
dated:
  user.present:
    - uid: 3400
    - gid: 3100
    - expire: 20000
    - mindays: 1
    - maxdays: 90
    - warndays: 7
    - inactdays: 30
    - roomnumber: '12'
    - workphone: '555'
    - require:
      - group: ops
moved:
  user.present:
    - home: /srv/moved-now
    - createhome: False
    - usergroup: True
own-group:
  user.present:
    - usergroup: True
    - uid: 3500
no-own-group:
  user.present:
    - usergroup: False
    - gid: 100
locked:
  user.present:
    - empty_password: False
    - password: '!'
hashed-here:
  user.present:
    - password: $6$lab$x
    - enforce_password: False
