# People, from pillar/base.sls: a group for those who administer the lab, an account and ssh keys for each.
lab_group:
  group.present:
    name: {{ pillar.base.admin_group }}
    system: true

lab_sudoers:
  file.managed:
    name: /etc/sudoers.d/lab
    contents: |
      %{{ pillar.base.admin_group }} ALL=(ALL:ALL) NOPASSWD: ALL
    mode: '0440'
    makedirs: true
    user: root
    group: root
    require:
      - pkg: base_packages
{{#each pillar.base.users}}

user_{{ @key }}:
  user.present:
    name: {{ @key }}
    fullname: {{ quote (default this.fullname @key) }}
    shell: {{ default this.shell "/bin/bash" }}
    home: /home/{{ @key }}
    groups:
      - {{ @root.pillar.base.admin_group }}
    require:
      - group: lab_group

user_{{ @key }}_ssh:
  file.directory:
    name: /home/{{ @key }}/.ssh
    user: {{ @key }}
    group: {{ @key }}
    mode: '0700'
    makedirs: true
    require:
      - user: user_{{ @key }}

user_{{ @key }}_keys:
  file.managed:
    name: /home/{{ @key }}/.ssh/authorized_keys
    contents: |
      # Written by labctl from pillar/base.sls.
{{#each this.keys}}
      {{ this }}
{{/each}}
    user: {{ @key }}
    group: {{ @key }}
    mode: '0600'
    require:
      - file: user_{{ @key }}_ssh
{{/each}}
