# The smallest useful state: one file, from a template, that says who configured this machine.
# Try it:  labctl target '*' plan hello     then     labctl target '*' apply hello
hello_motd:
  file.managed:
    name: /etc/motd.d/labctl
    contents: |
      {{ pillar.greeting }} {{ id }} is configured by labctl.
    mode: '0644'
    makedirs: true
