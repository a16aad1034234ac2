/etc/a:
  file:
    - managed
    - source: [ salt://f/none, salt://f/a ]
    - mode: keep
    - user: root
/srv/site:
  file.recurse:
    - source: salt://f
    - file_mode: keep
/etc/gone: file.absent
c: { cmd.run: [ { name: 'true' }, { env: [ { A: 1 }, { B: yes } ] }, { parallel: true } ] }
