site_conf:
  file.manged:
    - name: /etc/nginx/conf.d/site.conf
other:
  file.managed:
    - nmae: /etc/other
    - makedirs: perhaps
third:
  require:
    - file: other
  file.managed:
    - source: lab://web/files/site.conf
twice: { file.absent: [] }
twice: { file.absent: [] }
