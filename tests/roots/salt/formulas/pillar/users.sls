users-formula:
  use_vim_formula: False
users:
  ada:
    fullname: Ada Lovelace
    uid: 3001
    shell: /bin/bash
    groups: [sudoers-of-lab, adm]
    sudouser: true
    sudo_rules:
      - "ALL=(root) NOPASSWD: /usr/bin/apt-get"
    ssh_auth:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEvYmp4HDS5dnCpvHgbWBuGHKH8TQXn13SvVSaKE+lZg ada@lab
    user_files: {enabled: true}
  grace:
    fullname: Grace Hopper
    home: /srv/grace
    createhome: true
    prime_group: {name: navy, gid: 3200}
  charles:
absent_users:
  - bob
groups:
  badguys: {state: absent}
