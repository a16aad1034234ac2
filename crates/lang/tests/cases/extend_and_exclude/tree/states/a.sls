include: [ b ]
extend:
  web:
    file.managed:
      - mode: 0600
      - require: [ { file: dir } ]
exclude: [ { id: gone } ]
dir: { file.directory: { name: /srv } }
