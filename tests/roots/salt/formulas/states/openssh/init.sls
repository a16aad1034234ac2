{% set cfg = salt['defaults.merge']({'PermitRootLogin': 'no', 'Port': 22}, salt['pillar.get']('sshd_config', {})) %}
{% set lookup = salt['grains.filter_by']({'Debian': {'server': 'openssh-server', 'service': 'ssh'}}) %}
openssh:
  pkg.installed:
    - name: {{ lookup.server }}
  service.running:
    - enable: True
    - name: {{ lookup.service }}
    - require:
      - pkg: {{ lookup.server }}
{% for k, v in cfg.items() %}
sshd_{{ k }}:
  file.replace:
    - name: /etc/ssh/sshd_config
    - pattern: '^#?{{ k }} .*$'
    - repl: '{{ k }} {{ v }}'
    - append_if_not_found: True
    - require:
      - pkg: openssh
    - watch_in:
      - service: openssh
{% endfor %}
