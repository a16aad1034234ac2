# Mounts of the storage server, on demand: the NAS may sleep until someone looks. One mount and one automount unit each.
nfs_packages:
  pkg.installed:
    name: nfs-common
{{#each pillar.nfs_client.mounts}}

{{ @key }}_mount:
  file.managed:
    name: /etc/systemd/system/{{ @key }}.mount
    contents: |
      # Written by labctl.
      [Unit]
      Description={{ this.source }}
      [Mount]
      What={{ this.source }}
      Where={{ this.path }}
      Type=nfs
      Options={{ default this.options "nfsvers=4.2,soft,timeo=100,noatime" }}
    mode: '0644'
    makedirs: true
    require:
      - pkg: nfs_packages

{{ @key }}_automount:
  file.managed:
    name: /etc/systemd/system/{{ @key }}.automount
    contents: |
      # Written by labctl.
      [Unit]
      Description={{ this.source }}, when someone looks
      [Automount]
      Where={{ this.path }}
      TimeoutIdleSec=10min
      [Install]
      WantedBy=multi-user.target
    mode: '0644'
    makedirs: true

{{ @key }}_reload:
  cmd.run:
    name: systemctl daemon-reload
    onchanges:
      - file: {{ @key }}_mount
      - file: {{ @key }}_automount

{{ @key }}_enabled:
  service.enabled:
    name: {{ @key }}.automount
    require:
      - file: {{ @key }}_automount
{{/each}}
