#!yaml
/srv/e/touched:
  file.exists: []
/srv/e/not-there:
  file.missing: []
/srv/e/touched-new:
  file.touch: []
/srv/e/touched/deep/er:
  file.absent: []
/srv/e/touch-dirs/x:
  file.touch:
    - makedirs: True
/srv/e/copied:
  file.copy:
    - source: /srv/e/copied-from
    - preserve: True
/srv/e/copied-with-mode:
  file.copy:
    - source: /srv/e/copied-from
    - user: root
    - group: www-data
    - mode: '0604'
/srv/e/copied/tree:
  file.copy:
    - source: /srv/e/tree
    - makedirs: True
/srv/e/moved-to:
  file.rename:
    - source: /srv/e/moved-from
/srv/e/json:
  file.serialize:
    - dataset:
        name: lab
        list: [1, two, true, null]
        map: {b: 1, a: 2}
    - formatter: json
/srv/e/yaml:
  file.serialize:
    - dataset_pillar: settings
    - formatter: yaml
    - mode: '0600'
/srv/e/configparser:
  file.serialize:
    - dataset:
        section:
          key: value
          number: 5
    - formatter: configparser
/srv/e/merge.json:
  file.serialize:
    - dataset:
        added: true
        kept: {y: 2}
    - formatter: json
    - merge_if_exists: True
/srv/e/from-pillar:
  file.managed:
    - contents_pillar: text
/srv/e/by-hash:
  file.managed:
    - source: salt://files/more.txt
    - source_hash: 79b51a7010c98e3fd73b997f1ff5963cac8a74ad55131bdd73e4f3e30c0c504c
/srv/e/no-newline:
  file.managed:
    - contents: bare
    - contents_newline: False
/srv/e/kept-backup:
  file.managed:
    - contents: two
    - backup: minion
/srv/e/many:
  file.managed:
    - contents: text
    - allow_empty: False
/srv/e/a-link:
  file.managed:
    - contents: no link any more
    - follow_symlinks: False
/srv/e/hard:
  file.hardlink:
    - target: /srv/e/touched
/srv/e/dirs:
  file.directory:
    - names:
      - /srv/e/dir-1
      - /srv/e/dir-2
    - mode: '0700'
/srv/e/tidied:
  file.directory:
    - clean: True
    - exclude_pat: 'E@^keep'
/srv/e/part:
  file.recurse:
    - source: salt://files
    - include_pat: '*.txt'
/srv/e/accumulated:
  file.managed:
    - contents: |
        base
/srv/e/decoded:
  file.decode:
    - encoded_data: aGVsbG8K
    - encoding_type: base64
