conf:
  file.managed:
    name: /etc/{{pillar.name}}.{{env}}
    source: lab://web.conf
