last: { file.absent: { name: /last, order: last } }
needs_c:
  file.absent:
    - name: /a
    - require:
      - cmd: c
b: { file.absent: { name: /b, listen_in: [ { cmd: c } ] } }
c:
  cmd.run:
    - name: echo hi
    - unless: test -e /c
    - onlyif: [ 'true' ]
    - retry: { attempts: 3, interval: 5 }
first: { file.absent: { name: /first, order: first, failhard: yes, fire_event: web/gone } }
many:
  file.absent:
    - names: [ /x, /y ]
    - onchanges_any: [ { file: b }, { cmd: c } ]
    - prereq: [ { file: last } ]
