web:
  file.managed:
    - name: /etc/web.conf
    - contents: x
    - makedirs: 1
    - show_changes_in_color: true
    - retry: {attempts: soon, wait: 3}
  require:
    - file: other
  order: 5
other:
  file.absent:
    - name: /other
    - name: /etc/other
    - reload_modules: true
    - failhard: perhaps
/many:
  file.absent:
    - names: []
port:
  test.nop:
    - name: 8080
    - listen: [{file: nobody}]
    - order: soon
