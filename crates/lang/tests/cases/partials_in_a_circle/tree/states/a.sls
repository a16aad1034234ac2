a:
  file.managed:
    - name: /a
    - source: lab://f/a.hbs
    - template: handlebars
