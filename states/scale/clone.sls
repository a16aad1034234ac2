# One more clone of a template, under the first free name below the maximum. Applied by reactors/scale-out.yaml.
scale_script:
  file.managed:
    name: /usr/local/sbin/labctl-clone
    source: lab://scale/files/clone.sh
    mode: '0755'
    makedirs: true

scale_clone:
  cmd.run:
    name: clone {{ pillar.scale.template }}
    argv:
      - /usr/local/sbin/labctl-clone
      - {{ quote pillar.scale.template }}
      - {{ quote pillar.scale.prefix }}
      - {{ quote pillar.scale.most }}
    timeout: 900
    require:
      - file: scale_script
