motd:
  file.managed:
    - name: /etc/motd
    - contents: Welcome to {{id}}
    - mode: 0644
