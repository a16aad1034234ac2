#!yaml
/srv/new:
  file.managed:
    - contents: hello
/srv/lines:
  file.managed:
    - contents:
      - one
      - two
      - three
    - user: daemon
    - group: www-data
    - mode: 640
/srv/block:
  file.managed:
    - contents: |
        with a newline at the end

    - mode: '0755'
/srv/no/folder/yet:
  file.managed:
    - contents: ''
    - makedirs: True
    - dir_mode: 750
    - user: daemon
/srv/there:
  file.managed:
    - contents: |
        one
        three
/srv/through:
  file.managed:
    - contents: it was a link
/srv/bare:
  file.managed: []
/srv/from-source:
  file.managed:
    - source: salt://files/page.txt
    - mode: keep
/srv/script.sh:
  file.managed:
    - source: salt://files/script.sh
    - mode: keep
/srv/not-replaced:
  file.managed:
    - contents: first
not-replaced-again:
  file.managed:
    - name: /srv/not-replaced
    - contents: second
    - replace: False
several:
  file.managed:
    - names:
      - /srv/several-1
      - /srv/several-2:
        - contents: its own
        - mode: '0600'
    - contents: shared
/srv/approved:
  file.managed:
    - contents: good
    - check_cmd: grep -q good
/srv/first-found:
  file.managed:
    - source:
      - salt://files/missing.txt
      - salt://files/page.txt
