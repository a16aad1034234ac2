run:
  cmd.run:
    - name: make all
    - cwd: /srv/src
    - runas: ada
    - env: [ { CC: clang } ]
    - unless:
      - test -e /srv/src/done
      - fun: file.file_exists
        path: /srv/src/stamp
      - fun: user.info
        args: [ ada ]
        get_return: home
    - onlyif: { fun: service.status, name: ssh }
    - retry: { attempts: 3, interval: 5m, splay: 10, until: false }
    - parallel: true
    - onfail_all: [ { test: one }, { test: two } ]
    - onfail_any: [ { test: one } ]
one: test.nop
two: test.nop
