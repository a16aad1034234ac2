#!yaml
/srv/dir:
  file.directory: []
/srv/dirs/with/parents:
  file.directory:
    - makedirs: True
    - user: daemon
    - group: daemon
    - mode: 2750
/srv/kept:
  file.directory:
    - user: root
    - group: root
    - dir_mode: 755
    - file_mode: 644
    - recurse:
      - user
      - group
      - mode
/srv/strict:
  file.directory:
    - clean: True
/srv/strict/wanted:
  file.managed:
    - contents: wanted
    - require_in:
      - file: /srv/strict
/srv/tree:
  file.recurse:
    - source: salt://files/tree
    - user: daemon
    - group: www-data
    - dir_mode: 2755
    - file_mode: '0640'
/srv/tree-kept:
  file.recurse:
    - source: salt://files/tree
    - file_mode: keep
    - include_empty: True
/srv/link:
  file.symlink:
    - target: /srv/new
/srv/dangling:
  file.symlink:
    - target: there
/srv/links/made:
  file.symlink:
    - target: ../new
    - makedirs: True
/srv/old:
  file.absent: []
/srv/not-there:
  file.absent: []
