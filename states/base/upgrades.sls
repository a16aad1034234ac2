# Security updates by themselves; reboots are left to people.
unattended_upgrades:
  pkg.installed:
    name: unattended-upgrades

auto_upgrades:
  file.managed:
    name: /etc/apt/apt.conf.d/20auto-upgrades
    contents: |
      APT::Periodic::Update-Package-Lists "1";
      APT::Periodic::Unattended-Upgrade "1";
      APT::Periodic::AutocleanInterval "7";
    mode: '0644'
    makedirs: true
    require:
      - pkg: unattended_upgrades

apt_clean:
  cron.present:
    name: /usr/bin/apt-get clean
    identifier: labctl-apt-clean
    user: root
    minute: '17'
    hour: '4'
    dayweek: '0'
    require:
      - pkg: base_packages
