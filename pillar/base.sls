base:
  timezone: Europe/Amsterdam
  ntp: [0.pool.ntp.org, 1.pool.ntp.org]
  packages: [ca-certificates, cron, curl, less, sudo, tzdata]
  admin_group: lab
  ssh:
    passwords: false
    root: prohibit-password
  users:
    ada:
      fullname: Ada of the lab
      keys:
        - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0000000000000000000000000000000000000000000 ada@example
