{% from "ntp/map.jinja" import ntp with context %}

ntp:
  pkg.installed:
    - name: {{ ntp.pkg }}
  service.running:
    - name: {{ ntp.service }}
    - enable: True
    - require:
      - pkg: ntp

{% set ntp_conf = ntp.config_dir ~ '/ntp.conf' -%}
ntp_conf:
  file.managed:
    - name: {{ ntp_conf }}
    - source: salt://ntp/files/ntp.conf
    - template: jinja
    - makedirs: true
    - context:
        servers: {{ salt['pillar.get']('ntp:servers', []) }}
        restrict: {{ salt.pillar.get('ntp:restrict', ['default kod', '127.0.0.1'])|tojson }}
    - watch_in:
      - service: ntp
    - require:
      - pkg: ntp
