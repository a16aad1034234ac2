#!yaml
echo one > /srv/out/one:
  cmd.run: []
guarded:
  cmd.run:
    - name: echo never > /srv/out/never
    - creates: /srv/out/there
guarded by several:
  cmd.run:
    - name: echo ran > /srv/out/several
    - creates:
      - /srv/out/there
      - /srv/out/several
unless it is there:
  cmd.run:
    - name: echo never > /srv/out/never
    - unless: test -e /srv/out/there
unless a list:
  cmd.run:
    - name: echo ran > /srv/out/unless
    - unless:
      - test -e /srv/out/there
      - test -e /srv/out/not-there
onlyif it is there:
  cmd.run:
    - name: echo ran > /srv/out/onlyif
    - onlyif: test -e /srv/out/there
onlyif it is not:
  cmd.run:
    - name: echo never > /srv/out/never
    - onlyif:
      - test -e /srv/out/there
      - test -e /srv/out/not-there
where and as whom:
  cmd.run:
    - name: pwd; id -un; echo "$WORD"
    - cwd: /srv
    - runas: daemon
    - env:
      - WORD: well met
in a folder:
  cmd.run:
    - name: pwd > here; echo "$A$B" >> here
    - cwd: /srv/out
    - env:
        A: 1
        B: two
it may end so:
  cmd.run:
    - name: exit 3
    - success_retcodes: 3
waited in vain:
  cmd.wait:
    - name: echo never > /srv/out/never
    - watch:
      - file: /srv/out/there
/srv/out/there:
  file.managed:
    - replace: False
/srv/out/watched:
  file.managed:
    - contents: changed
waited:
  cmd.wait:
    - name: echo ran > /srv/out/waited
    - watch:
      - file: /srv/out/watched
stateful and changed:
  cmd.run:
    - name: "echo; echo 'changed=yes comment=\"it did\" where=here'"
    - stateful: True
stateful and not:
  cmd.run:
    - name: "echo 'changed=no comment=nothing'"
    - stateful: True
