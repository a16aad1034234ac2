a:
  test.nop:
    - unless: { fun: file.file_exist, path: /x }
b:
  test.nop:
    - onlyif: [ { fun: file.file_exists, file: /x }, { fun: service.status }, [ x ] ]
c:
  test.nop:
    - retry: { attempts: 0, until: maybe, splay: long, wait: 1 }
d:
  test.nop:
    - require_in: [ { file: nobody } ]
    - watch_in: [ nobody ]
    - onchanges_in: [ [ x ] ]
