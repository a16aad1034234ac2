#!yaml
/srv/e/append:
  file.append:
    - text:
      - three
      - four
/srv/e/append-unended:
  file.append:
    - text: |
        three
        four
/srv/e/append-new:
  file.append:
    - text: first
    - makedirs: True
/srv/e/append-source:
  file.append:
    - source: salt://files/more.txt
/srv/e/prepend:
  file.prepend:
    - text:
      - zero
      - two
/srv/e/prepend-header:
  file.prepend:
    - text: |
        # header
        # of two lines
    - header: True
    - makedirs: True
port:
  file.replace:
    - name: /srv/e/replace
    - pattern: ^Port \d+$
    - repl: Port 2222
root login:
  file.replace:
    - name: /srv/e/replace
    - pattern: ^#?PermitRootLogin .*
    - repl: PermitRootLogin no
    - append_if_not_found: True
missing option:
  file.replace:
    - name: /srv/e/replace
    - pattern: ^Missing .*
    - repl: Missing yes
    - append_if_not_found: True
    - backup: False
first option:
  file.replace:
    - name: /srv/e/replace
    - pattern: ^First .*
    - repl: First yes
    - prepend_if_not_found: True
groups of a pattern:
  file.replace:
    - name: /srv/e/replace-flags
    - pattern: (?P<key>\w+) (yes)
    - repl: '\g<key> = \2'
    - count: 1
ignoring case:
  file.replace:
    - name: /srv/e/replace-flags
    - pattern: ^usepam
    - repl: USEPAM
    - flags:
      - IGNORECASE
      - MULTILINE
not found content:
  file.replace:
    - name: /srv/e/replace-flags
    - pattern: ^Nothing$
    - repl: Nothing
    - append_if_not_found: True
    - not_found_content: Something
deleted lines:
  file.replace:
    - name: /srv/e/replace-flags
    - pattern: ^X11.*\n
    - repl: ''
/srv/e/comment:
  file.comment:
    - regex: ^X11
commented already:
  file.comment:
    - name: /srv/e/comment
    - regex: ^PermitRootLogin
with another sign:
  file.comment:
    - name: /srv/e/comment
    - regex: ^UsePAM yes$
    - char: ';'
/srv/e/uncomment:
  file.uncomment:
    - regex: a
/srv/e/block:
  file.blockreplace:
    - marker_start: '# BEGIN lab'
    - marker_end: '# END lab'
    - content: |
        new
        lines
/srv/e/block-missing:
  file.blockreplace:
    - marker_start: '# BEGIN lab'
    - marker_end: '# END lab'
    - content: inside
    - append_if_not_found: True
/srv/e/block-pillar:
  file.managed:
    - replace: False
    - contents: |
        a
        z
block from pillar:
  file.blockreplace:
    - name: /srv/e/block-pillar
    - marker_start: '<<'
    - marker_end: '>>'
    - content: above
    - prepend_if_not_found: True
    - show_changes: False
block insert:
  file.blockreplace:
    - name: /srv/e/block-pillar
    - marker_start: '#['
    - marker_end: '#]'
    - content: in the middle
    - insert_after_match: ^a$
/srv/e/keyvalue:
  file.keyvalue:
    - key_values:
        Port: 2200
        UsePAM: 'no'
        Added: one
    - separator: ' '
    - append_if_not_found: True
root login by key:
  file.keyvalue:
    - name: /srv/e/keyvalue
    - key: PermitRootLogin
    - value: without-password
    - separator: ' '
    - uncomment: '#'
/srv/e/keyvalue-spaced:
  file.keyvalue:
    - key: a
    - value: 5
    - separator: ' = '
/srv/e/line-insert:
  file.line:
    - content: inserted
    - mode: insert
    - after: alpha
/srv/e/line-start:
  file.line:
    - content: first
    - mode: insert
    - location: start
/srv/e/line-end:
  file.line:
    - content: last
    - mode: insert
    - location: end
/srv/e/line-delete:
  file.line:
    - match: beta
    - mode: delete
/srv/e/line-replace:
  file.line:
    - content: BETA
    - match: beta
    - mode: replace
/srv/e/line-ensure:
  file.line:
    - content: delta
    - mode: ensure
    - after: gamma
