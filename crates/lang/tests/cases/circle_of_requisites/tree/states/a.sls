a:
  file.absent:
    - name: /a
    - require: [ { file: b } ]
b:
  file.absent:
    - name: /b
    - require: [ { file: c } ]
c:
  file.absent:
    - name: /c
    - require: [ a ]
