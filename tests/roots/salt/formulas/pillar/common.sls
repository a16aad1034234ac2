
ntp:
  lookup:
    config_dir: /etc/ntpsec
  servers:
    - 0.pool.example
    - 1.pool.example
motd: |
  Welcome to {{ grains['id'] }}
  second line
sysctl:
  net.ipv4.ip_forward: 1
  net.ipv4.conf.all.rp_filter: 2
