# dnsmasq that answers the names of all machines; what it asks others is up to its own configuration.
include:
  - dns.zone

dnsmasq:
  pkg.installed: []

dns_config:
  file.managed:
    name: /etc/dnsmasq.d/labctl.conf
    contents: |
      # Written by labctl for {{ id }}.
      hostsdir=/etc/dnsmasq.hosts
      domain={{ default pillar.dns.domain "lab" }}
      local=/{{ default pillar.dns.domain "lab" }}/
    mode: '0644'
    makedirs: true
    require:
      - pkg: dnsmasq

dns_running:
  service.running:
    name: dnsmasq
    enable: true
    watch:
      - file: dns_config
