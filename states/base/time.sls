# The right time zone, and a clock that is set from the network.
timezone:
  file.symlink:
    name: /etc/localtime
    target: /usr/share/zoneinfo/{{ pillar.base.timezone }}
    force: true
    require:
      - pkg: base_packages

timesyncd_config:
  file.managed:
    name: /etc/systemd/timesyncd.conf.d/lab.conf
    contents: |
      [Time]
      NTP={{ join pillar.base.ntp " " }}
    mode: '0644'
    makedirs: true

timesyncd:
  pkg.installed:
    name: systemd-timesyncd

timesyncd_enabled:
  service.enabled:
    name: systemd-timesyncd
    require:
      - pkg: timesyncd
      - file: timesyncd_config
