# Keys only, no root by password. A drop-in, so that the package's own file stays as it is.
openssh:
  pkg.installed:
    name: openssh-server

sshd_dropin:
  file.managed:
    name: /etc/ssh/sshd_config.d/10-lab.conf
    source: lab://base/files/sshd.conf
    template: handlebars
    mode: '0644'
    makedirs: true
    require:
      - pkg: openssh

sshd:
  service.running:
    name: ssh
    enable: true
    reload: true
    watch:
      - file: sshd_dropin
