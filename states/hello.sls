# The smallest useful state: one file, from a template, that says who configured this machine.
hello_motd:
  file.managed:
    name: /etc/motd.d/labctl
    contents: |
      {{ id }} is configured by labctl.
    mode: '0644'
    makedirs: true
